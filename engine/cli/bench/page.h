// SPDX-License-Identifier: LGPL-2.1-or-later
// The benchmark's HTML page; /*DATA*/ stands for the JSON.
#pragma once

namespace flowcache::cli {

inline const char* const bench_page = R"PAGE(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>flowcache bench</title><style>
:root{--bg:#fff;--fg:#1c2330;--dim:#667;--line:#d8dce4;--c:#1f6feb;--r:#e8edf5}
@media(prefers-color-scheme:dark){:root{--bg:#12161d;--fg:#e4e8ef;--dim:#8b93a3;--line:#2c3442;--c:#6cb6ff;--r:#263041}}
body{background:var(--bg);color:var(--fg);font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:1100px;padding:0 1rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:13px}td,th{padding:.3rem .5rem;text-align:right;border-bottom:1px solid var(--line)}
td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto;background:var(--bg)}text{fill:var(--fg);font-size:11px}.dim{color:var(--dim)}
.axis{stroke:var(--line);fill:none}.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(240px,1fr));gap:1rem}h2{margin-top:2.2rem}
</style></head><body><h1>flowcache bench</h1><p class="dim" id="what"></p>
<table id="table"></table><h2>Speed against quality</h2><p class="dim">Right and up is better. PSNR against the uncached video of the same seed.</p><div id="scatter"></div>
<h2>Drift</h2><p class="dim">PSNR by chunk index: a line that falls means errors build up in the history.</p><div id="drift"></div>
<h2>Decisions</h2><p class="dim">First prompt. One row a chunk, one column a step: filled computed, pale reused.</p><div class="grid" id="maps"></div>
<script>const D=/*DATA*/;
const ns='http://www.w3.org/2000/svg',E=(t,a,p,x)=>{const e=document.createElementNS(ns,t);for(const k in a)e.setAttribute(k,a[k]);if(x!=null)e.textContent=x;p&&p.append(e);return e};
const hue=i=>`hsl(${(i*67+210)%360} 65% 52%)`,ok=D.cases.filter(c=>c.summary);
what.textContent=`${D.model.name} ${D.model.width}x${D.model.height}, ${D.prompts.length} prompts x ${D.chunks} chunks, seed ${D.seed}, flowcache ${D.version}`;
const cols=[['case',c=>c.name],['speed-up',c=>c.summary.speedup.toFixed(2)+'x'],['x real time',c=>c.summary.video_realtime_factor.toFixed(2)],['deadline',c=>(100*c.summary.deadline_attainment).toFixed(0)+' %'],
['p50 ms',c=>(1e3*c.summary.chunk_seconds.p50).toFixed(0)],['p95 ms',c=>(1e3*c.summary.chunk_seconds.p95).toFixed(0)],['p99 ms',c=>(1e3*c.summary.chunk_seconds.p99).toFixed(0)],
['first ms',c=>(1e3*c.summary.time_to_first_chunk).toFixed(0)],['computed',c=>c.summary.steps_computed+'/'+(c.summary.steps_computed+c.summary.steps_reused)],
['GFLOP',c=>(c.summary.flops_per_chunk/1e9).toFixed(2)],['PSNR dB',c=>c.name==c.reference?'-':c.summary.psnr.toFixed(2)],['SSIM',c=>c.name==c.reference?'-':c.summary.ssim.toFixed(4)],['flicker',c=>c.name==c.reference?'-':c.summary.flicker.toFixed(3)],['KV MB',c=>(c.summary.kv_bytes/1e6).toFixed(1)]];
{const h=table.insertRow();cols.forEach(([n])=>{const t=document.createElement('th');t.textContent=n;h.append(t)});
for(const c of D.cases){const r=table.insertRow();if(!c.summary){r.insertCell().textContent=c.name;const x=r.insertCell();x.colSpan=cols.length-1;x.textContent='not run: '+c.refused;continue}cols.forEach(([,f])=>r.insertCell().textContent=f(c))}}
function plot(id,xs,ys,xl,yl,draw){const W=900,H=340,s=E('svg',{viewBox:`0 0 ${W} ${H}`,role:'img'});document.getElementById(id).append(s);
const [x0,x1]=xs,[y0,y1]=ys,X=v=>60+(v-x0)/(x1-x0||1)*(W-90),Y=v=>H-40-(v-y0)/(y1-y0||1)*(H-60);
E('path',{class:'axis',d:`M60 20V${H-40}H${W-30}`},s);for(let i=0;i<=5;i++){const a=x0+(x1-x0)*i/5,b=y0+(y1-y0)*i/5;E('text',{x:X(a)-8,y:H-24},s,+a.toFixed(2));E('text',{x:18,y:Y(b)+4},s,+b.toFixed(1))}
E('text',{x:W-130,y:H-6},s,xl);E('text',{x:6,y:12},s,yl);draw(s,X,Y)}
const cs=ok.filter(c=>c.name!=c.reference);
if(cs.length){const sp=cs.map(c=>c.summary.speedup),ps=cs.map(c=>c.summary.psnr);
plot('scatter',[Math.min(1,...sp),Math.max(...sp)*1.08],[Math.min(...ps)-1,Math.max(...ps)+1],'speed-up','PSNR dB',(s,X,Y)=>{const fam=[...new Set(cs.map(c=>c.cache))];
fam.forEach((f,i)=>{const g=cs.filter(c=>c.cache==f).sort((a,b)=>a.summary.speedup-b.summary.speedup);E('path',{d:'M'+g.map(c=>X(c.summary.speedup)+' '+Y(c.summary.psnr)).join('L'),stroke:hue(i),fill:'none','stroke-opacity':.5},s);
g.forEach(c=>{const p=E('circle',{cx:X(c.summary.speedup),cy:Y(c.summary.psnr),r:5,fill:hue(i)},s);E('title',{},p,c.name);E('text',{x:X(c.summary.speedup)+7,y:Y(c.summary.psnr)-5},s,c.name)})})});
const dr=cs.flatMap(c=>c.summary.drift_psnr);plot('drift',[0,Math.max(1,D.chunks-1)],[Math.min(...dr)-1,Math.min(60,Math.max(...dr)+1)],'chunk','PSNR dB',(s,X,Y)=>cs.forEach((c,i)=>{const p=E('path',{d:'M'+c.summary.drift_psnr.map((v,k)=>X(k)+' '+Y(Math.min(v,60))).join('L'),stroke:hue(i),fill:'none','stroke-width':1.6},s);E('title',{},p,c.name)}))}
for(const c of ok){const run=c.runs[0],n=run[0].decisions.length,d=document.createElement('div');d.innerHTML='<div class="dim"></div>';d.firstChild.textContent=c.name;const s=E('svg',{viewBox:`0 0 ${n*10} ${run.length*10}`});
run.forEach((m,y)=>m.decisions.forEach((v,x)=>E('rect',{x:x*10,y:y*10,width:9,height:9,style:`fill:var(${v?'--c':'--r'})`},s)));d.append(s);maps.append(d)}
</script></body></html>
)PAGE";

}  // namespace flowcache::cli
