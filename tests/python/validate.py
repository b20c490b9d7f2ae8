"""Judges pairs of a JSON Schema and an instance, read from stdin as a JSON array."""

import json
import sys

import jsonschema


def main() -> None:
    pairs = json.load(sys.stdin)
    for pair in pairs:
        jsonschema.Draft202012Validator.check_schema(pair["schema"])
        jsonschema.Draft202012Validator(pair["schema"]).validate(pair["instance"])
    print(f"{len(pairs)} instances are valid")


main()
