#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the seeds of the fuzz targets: corpus/TARGET/NAME. Inputs that once failed lie there too, as fixed-…; they stay.

tests/fuzz/seeds.py"""

import json
import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def write(target, **seeds):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in seeds.items():
        (folder / name.replace("_", "-")).write_bytes(seed if isinstance(seed, bytes) else seed.encode())


def safetensors(tensors, data=b"", **metadata):
    header = json.dumps({**({"__metadata__": metadata} if metadata else {}), **tensors}, separators=(",", ":")).encode()
    return struct.pack("<Q", len(header)) + header + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


write("safetensors",
      two=safetensors({"a": tensor("F32", [2, 2], 0, 16), "b": tensor("BF16", [3], 16, 22)}, bytes(22)),
      odd=safetensors({"a": tensor("U8", [1], 0, 1), "b": tensor("F64", [1], 1, 9)}, bytes(9), format="pt"),
      empty=safetensors({"a": tensor("F8_E4M3", [0, 7], 0, 0), "b": tensor("I64", [], 0, 8)}, bytes(8)),
      zip_archive=b"PK\3\4" + bytes(20), short=b"\x02\0\0\0")



def short_text(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def pickled_tensor(size=b"K\4\x85", stride=b"K\1\x85", offset=b"K\0", function=b"_rebuild_tensor_v2", kind=b"FloatStorage"):
    return (b"ctorch._utils\n" + function + b"\n((" + short_text("storage") + b"ctorch\n" + kind + b"\n" + short_text("0")
            + short_text("cpu") + b"K\x10tQ" + offset + size + stride + b"\x89ccollections\nOrderedDict\n)RtR")


def state_dict(*values):
    return b"\x80\x02}q\0(" + b"".join(short_text(f"{i}.weight") + v for i, v in enumerate(values)) + b"u."


write("pickle", whole=(HERE.parent / "checkpoints/torch-save.pt").read_bytes(), plain=state_dict(pickled_tensor()),
      strided=state_dict(pickled_tensor(b"K\2K\2\x86", b"K\1K\2\x86", b"K\3"), pickled_tensor(kind=b"BFloat16Storage")),
      parameter=state_dict(b"ctorch._utils\n_rebuild_parameter\n" + pickled_tensor() + b"\x88}\x87R"),
      nested=b"\x80\x02}(" + short_text("generator") + state_dict(pickled_tensor())[2:-1] + short_text("step") + b"J\0\1\0\0u.",
      newer=b"\x80\x04\x95\x0b\0\0\0\0\0\0\0}\x94(\x8c\x01aK\1u.", code=b"\x80\x02cposix\nsystem\n" + short_text("true") + b"\x85R.",
      circle=b"\x80\x02}q\1" + short_text("a") + b"h\1s.", wide=state_dict(b"\x8a\x08" + bytes(range(8)), b"G" + bytes(8), b"](K\1Ne"))


def gguf(tensors, notes=b"", count=0, data=b"", version=3):
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), count) + notes
    for name, sizes, kind, offset in tensors:
        head += struct.pack("<Q", len(name)) + name.encode() + struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes) + struct.pack("<IQ", kind, offset)
    return head + bytes(-len(head) % 32) + data


def note(name, kind, value):
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", kind) + value


write("gguf", plain=gguf([("a", [2, 2], 0, 0), ("b", [3], 30, 32)], data=bytes(38)), quantized=gguf([("q", [64, 2], 8, 0)], data=b"\1" * 136),
      notes=gguf([("a", [1], 1, 0)], note("general.alignment", 4, struct.pack("<I", 32)) + note("n", 9, struct.pack("<IQ", 8, 1) + struct.pack("<Q", 1) + b"x")
                 + note("comfy.gguf.orig_shape.a", 9, struct.pack("<IQII", 5, 2, 1, 1)), 3, bytes(2)),
      refused=gguf([("k", [256], 12, 0)], data=bytes(144)), old=gguf([], version=1))

model = json.loads((ROOT / "models/ambient/model.json").read_text())
model["text"]["vocabulary"] = ["<pad>", "fire", "blue"]
model["text"]["synonyms"] = {"flame": "fire"}
model["description"] = "a model"
del model["prompts"]


def changed(**sections):
    copy = json.loads(json.dumps(model))
    for name, change in sections.items():
        if isinstance(change, dict):
            copy.setdefault(name, {}).update(change)
        else:
            copy[name] = change
    return json.dumps(copy, separators=(",", ":"))


INDEX = json.dumps({"weight_map": {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"}})
seeds = {"ambient": changed(), "shards": changed(transformer={"file": "x.index.json"}) + "\0" + INDEX}
for template in ("magi-1-24b-base", "self-forcing-1.3b", "skyreels-v2-df-1.3b-540p"):
    text = (ROOT / "models/templates" / (template + ".json")).read_text()
    seeds[template.split("-")[0]] = json.dumps(json.loads(text), separators=(",", ":"))
seeds["loras"] = changed(transformer={"loras": [{"file": "l.safetensors", "scale": 0.5}]},
                         sources={"*.safetensors": "https://example.org"}, clean_context=True)
write("model_json", **seeds)

write("policies", flowcache="flowcache", window="window:sink_frames=3,positions=relative",
      ramp="ramp:computed=5,power=2,end=-1+cfg_cache:refresh=3+offload", auto="auto:by=flowcache,floor=3,ceiling=9",
      magcache="magcache:curve_file=@,most_skipped=2\n[1, 0.99, 0.98]", curve='magcache:curve_file=@\n{"magcache": [1, 0.5]}',
      teacache="teacache:ends=ret,feature=tokens,polynomial=wan_14b,unsafe=parity,order=1,along=step,gain=0.5",
      attention="attention:start=0.3,interval=2,weight=1,growth=constant+cfg_cache",
      kv="flowcache:lambda=0.5,half_pool=2,unit=frame", packcache="packcache:window=12,unit=chunk,anchor_frames=1",
      decoprune="decoprune:probe=0.5,threshold=1e-1,sink_chunks=1", number="easycache:warmup=1e+1", junk="nothing:a=b,c")

write("subtitles",
      srt="1\n00:00:00,000 --> 00:00:02,500\nslow green aurora\n\n2\n00:00:02,500 --> 00:01:00.000\n<i>orange</i> fire &amp; ice\n",
      vtt="WEBVTT\n\nNOTE a note\n\nname\n00:01.000 --> 00:02.000 align:start\n{\\an8}blue <v Ann>snow\n\n01:02 --> 01:03\n42\n",
      marks="\ufeff1\r\n00:00:00,000 --> 00:00:01,000\r\nred\r\n\ufeff2\r\n00:00:01,000 --> 00:00:02,000\r\nblue &lt;b&gt;\r\n",
      utf16=b"\xff\xfe" + "1\n00:00:00,000 --> 00:00:01,000\nfeu\u00e9\n".encode("utf-16-le"),
      keys="1=orange fire; 2=blue snow; space=golden = ocean", neither="no subtitles\n")

PROMPT = "Slow <b>green</b> &amp; &#9731; &#x1F600; aurora, \ufb01re \u00e2\u20ac\u0153quoted\u00e2\u20ac\x9d \x1b[31m \uff76\uff9e \u3042"
prompts = {"markup": PROMPT, "plain": "golden ocean at sunset", "broken": b"\xff\xc0\x80\xed\xa0\x80 fire \xf4\x90\x80\x80"}
write("prompts", **prompts)
write("tokenizer", **prompts)
write("magi_prompts", **prompts, shop="Free shipping worldwide! Download www.example.com/a.png 1024x768 #12345678 img_0001.jpg page 12",
      chain="this-is-a-cat_on_a_mat -- \"quoted\" 12:30 a.b.c 192.168.0.1 @name abc123def 'x'",
      long="a (" * 1300)

SDP = "\r\n".join(["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE video0", "m=video 9 UDP/TLS/RTP/SAVPF 96",
                   "c=IN IP4 0.0.0.0", "a=mid:video0", "a=recvonly", "a=rtcp-mux", "a=ice-ufrag:abcd", "a=ice-pwd:abcdefghijklmnopqrstuvwx",
                   "a=fingerprint:sha-256 " + ":".join(["AB"] * 32), "a=setup:active", "a=rtpmap:96 H264/90000",
                   "a=fmtp:96 packetization-mode=1", "a=candidate:1 1 UDP 2015363327 127.0.0.1 5000 typ host", ""])
write("sdp", answer=SDP, candidate="candidate:1 1 UDP 2015363327 127.0.0.1 5000 typ host", refused=SDP.replace("video 9", "video 0"),
      full="v=0\no=a 1 2 IN IP6 ::1\ns=x\ni=i\nu=u\ne=e\np=p\nc=IN IP4 1.2.3.4/127/3\nb=AS:1\nt=0 0\nr=1 2 3\nz=1 2\nk=clear:x\nm=audio 1/2 RTP/AVP 0\n")
LINK = '<stun:stun.example.net>; rel="ice-server", <turn:turn.example.net?transport=udp>; rel="ice-server"; username="u"; credential="p"'
write("ice", links=LINK, turn="turn:user%40x:pass%3Aword@[2001:db8::1]:443?transport=tcp", stun="stun:host", turns="turns://u:p@h:5349")
write("gate", local="127.0.0.1:8080\nhttp://127.0.0.1:8080\nBearer 12345678\n\n", proxy="public.example\nhttps://public.example\n\n12345678\nhttps://Public.example:443/live/",
      elsewhere="[::1]:80\nhttp://evil.example\nbearer 1\n1\nhttp://[::1]:81")


def http(body="", *headers, begin="HTTP/1.1 201 Created"):
    return "\r\n".join([begin, *headers, f"Content-Length: {len(body)}", "", body])


write("whip_answers",
      created=http(SDP, "Content-Type: application/sdp", "Location: /session/1", "Link: " + LINK),
      moved=http("", "Location: /elsewhere", begin="HTTP/1.1 307 T") + "\0" + http("", "Location: http://other.test/x", begin="HTTP/1.1 308 P")
      + "\0" + http(SDP, "Content-Type: application/sdp"),
      busy=http("", "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT", begin="HTTP/1.1 503 Busy"),
      chunked="HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nRetry-After: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
ANSWER = json.dumps({"type": "answer", "sdp": SDP})
write("live_messages",
      prompt='{"type":"prompt","prompt":"blue fire","blend_chunks":2,"in":1.5}\n{"type":"prompt","prompt":"x","at":9}\n{"type":"reset"}',
      settings='{"type":"settings","cache_threshold":0.5,"guidance_scale":1,"cache":"ramp:computed=5"}\n{"type":"settings","strength":0.5}\n{"type":"reset","seed":7}',
      watch='{"type":"watch","codec":"h264","beyond_loopback":true}\n' + ANSWER
      + '\n{"type":"candidate","mline":0,"candidate":"candidate:1 1 UDP 1 1.2.3.4 5 typ host"}\n{"type":"unwatch"}',
      share='{"type":"share","beyond_loopback":false}\n' + ANSWER[:-1] + ',"of":"camera"}'
      + '\n{"type":"candidate","of":"camera","mline":0,"candidate":"candidate:1 1 UDP 1 1.2.3.4 5 typ host"}\n{"type":"unshare"}',
      wrong='{"type":"watch","codec":"x"}\n[1]\n{"type":1}\n{\n' + '{"a":' * 9 + "1" + "}" * 9)


def request(line, body="", *headers):
    return "\r\n".join([line + " HTTP/1.1", "Host: localhost", *headers, *([f"Content-Length: {len(body)}"] if body else []), "", body])


TOKEN, JSON = "Authorization: Bearer 12345678", "Content-Type: application/json"
frame = b'\x81\xa2\0\0\0\0{"type":"prompt","prompt":"red sky"}'[:6 + 34]
write("live_http", page=request("GET /"), stats=request("GET /api/stats?token=12345678"), head=request("HEAD /live/healthz"),
      prompt=request("POST /api/prompt", '{"prompt":"blue fire"}', TOKEN, JSON),
      settings=request("POST /live/api/settings", '{"cache_threshold":0.5}', TOKEN, JSON, "Origin: https://public.example"),
      chunked=request("POST /api/reset", "", TOKEN, JSON, "Transfer-Encoding: chunked") + "4\r\n{}  \r\n0\r\n\r\n",
      huge=request("POST /api/reset", "", TOKEN, JSON, "Content-Length: 99999999"),
      websocket=request("GET /ws?token=12345678", "", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==").encode() + frame)

UUID = bytes(range(16))


def user_data(number, data, picture=b"", uuid=UUID):
    return bytes([number]) + struct.pack("<H", len(data)) + uuid + data + picture


write("user_data", h264=user_data(0, b"data", b"\0\0\0\1\x67\1\0\0\1\x65\1"), avc=user_data(4, b"\0\0\1", b"\0\0\0\2\x67\1\0\0\0\2\x65\1"),
      h265=user_data(5, b"", b"\0\0\0\1\x40\1\0\0\1\x26\1"), hvc=user_data(9, b"x" * 300), short=user_data(1, b"y" * 250),
      av1=user_data(10, b"data", b"\x12\0\x0a\1\0\x32\1\x80"))

ENTRY = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)
TIFF = b"II*\0" + struct.pack("<IH", 8, 1) + ENTRY + bytes(4)
TIFF_BE = b"MM\0*" + struct.pack(">IH", 8, 1) + struct.pack(">HHIHH", 0x112, 3, 1, 3, 0) + bytes(4)
MARKED = b"Exif\0\0" + TIFF
write("exif", little=TIFF, big=TIFF_BE,
      jpeg=b"\xff\xd8\xff\xe0\0\4ab\xff\xe1" + struct.pack(">H", len(MARKED) + 2) + MARKED + b"\xff\xda",
      png=b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 1) + b"IHDRx\0\0\0\0" + struct.pack(">I", len(TIFF)) + b"eXIf" + TIFF + bytes(4),
      webp=b"RIFF\0\0\0\0WEBPVP8X" + struct.pack("<I", 1) + b"a\0EXIF" + struct.pack("<I", len(TIFF)) + TIFF,
      rational=b"II*\0" + struct.pack("<IH", 8, 3) + struct.pack("<HHII", 0x8825, 4, 1, 60) + struct.pack("<HHII", 0x10E, 2, 20, 30)
      + struct.pack("<HHII", 0x829A, 5, 1, 50) + bytes(40))
