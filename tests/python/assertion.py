"""Checks signed tokens, one in a line of stdin, with Google's own verifier and with PyJWT.

Arguments: the certificate of the key, the token endpoint that assertions are for.
"""

import sys

import google.auth.jwt
import jwt
from cryptography import x509

certificate, endpoint = sys.argv[1:]
pem = open(certificate, "rb").read()
key = x509.load_pem_x509_certificate(pem).public_key()
tokens = sys.stdin.read().split()
for token in tokens:
    header = jwt.get_unverified_header(token)
    assert header == {"alg": "RS256", "typ": "JWT", "kid": "the-key"}, header
    claims = jwt.decode(token, key, algorithms=["RS256"], options={"verify_aud": False})
    assert claims == google.auth.jwt.decode(token, certs={"the-key": pem.decode()})
    assert claims["exp"] - claims["iat"] == 3600, claims
    own = {"iss": "a@b", "iat": claims["iat"], "exp": claims["exp"]}
    scope = {"scope": "https://www.googleapis.com/auth/cloud-platform"}
    assert claims in (
        own | scope | {"aud": endpoint},
        own | scope | {"sub": "a@b"},
        own | {"sub": "a@b", "aud": "https://x/"},
    ), claims
print(f"{len(tokens)} tokens are good, twice")
