"""The opinion of Python's cryptography: reads questions as JSON, prints for each [accepted, what it said]."""

import ipaddress
import json
import sys
import warnings

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store


def certificates(path):
    with open(path, "rb") as file:
        return x509.load_pem_x509_certificates(file.read())


def name(text):
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def judge(question):
    try:
        builder = PolicyBuilder().store(Store(certificates(question["authority"])))
        leaf, *more = certificates(question["chain"])
        if question["server"] is not None:
            builder.build_server_verifier(name(question["server"])).verify(leaf, more)
        builder.build_client_verifier().verify(leaf, more)
        return [True, "accepted"]
    except Exception as error:  # A refusal to read is a refusal.
        return [False, f"{type(error).__name__}: {error}"]


# That a certificate is odd is why it is asked about.
warnings.simplefilter("ignore")
json.dump([judge(question) for question in json.load(sys.stdin)], sys.stdout)
