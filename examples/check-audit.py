#!/usr/bin/env python3
"""Checks an exported or archived audit file without the service: python3 check-audit.py FILE

Prints the head of the chain, to be compared with one that was noted elsewhere; or the first line that is wrong.
Needs nothing but Python. docs/audit.md describes the file.
"""
import gzip
import hashlib
import json
import re
import sys

LINE = re.compile(rb'\{"position":(null|[1-9][0-9]*),"hash":(?:null|"([0-9a-f]{64})"),"row":')


def fail(number, why):
    print(f"line {number}: {why}")
    sys.exit(1)


def main(path):
    opened = gzip.open if path.endswith(".gz") else open
    rows = unsealed = 0
    header = trailer = None
    with opened(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if trailer is not None:
                fail(number, "there is something after the last line")
            line = line.rstrip(b"\n")
            if header is None:
                header = json.loads(line)["header"]
                position = (header["first_position"] or 1) - 1
                prev = bytes.fromhex(header["prev_hash"] or "")
                continue
            if line.startswith(b'{"trailer":'):
                trailer = json.loads(line)["trailer"]
                continue
            head = LINE.match(line)
            if not head or not line.endswith(b"}"):
                fail(number, "this is no line of an audit file")
            rows += 1
            if head[1] == b"null":
                unsealed += 1
                continue
            position += 1
            if int(head[1]) != position:
                fail(number, f"position {position} should be here")
            # What is hashed: the hash before, then the row as it stands in the line, byte for byte.
            row = line[head.end() : -1]
            if hashlib.sha256(prev + row).hexdigest() != head[2].decode():
                fail(number, "the row is not what was sealed")
            prev = bytes.fromhex(head[2].decode())
    if trailer is None:
        fail("the last", "the file was cut off")
    if not trailer["complete"]:
        fail("the last", "the export ended early")
    if (trailer["rows"], trailer["unsealed"]) != (rows, unsealed):
        fail("the last", "the number of rows is another")
    print(f"{rows} rows, {unsealed} not sealed; head {header['chain']}:{position}:{prev.hex()}")


main(sys.argv[1])
