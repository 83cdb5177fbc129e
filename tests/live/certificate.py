# SPDX-License-Identifier: LGPL-2.1-or-later
"""A certificate of the test's own."""

import os
import ssl
import subprocess

from program import need


def make_certificate(folder, names):
    """(certificate, key, what trusts it); names as openssl has them: DNS:…,IP:…"""
    certificate, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run([need("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
                    "-addext", f"subjectAltName={names}", "-keyout", key, "-out", certificate], capture_output=True, check=True)
    return certificate, key, ssl.create_default_context(cafile=certificate)
