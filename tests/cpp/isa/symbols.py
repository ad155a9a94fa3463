"""Checks what the objects of one instruction set export: symbols.py NM NAMESPACE OBJECT...

Every external or weak symbol that they define must carry their namespace in its mangled name. Any other could be the
copy that the linker keeps for the whole library, and kill an older machine with an illegal instruction.
"""

import re
import subprocess
import sys


def foreign_symbols(nm: str, namespace: str, objects: list[str]) -> list[str]:
    listing = subprocess.run([nm, "-P", *objects], check=True, capture_output=True, text=True).stdout
    mangled = f"{len(namespace)}{namespace}"
    found = []
    for line in listing.splitlines():
        match = re.fullmatch(r"(\S+) ([A-Zuvw])(?: .*)?", line)
        # U, w and v are undefined; DW.ref.* are pointers to data.
        if match is None or match[2] in "Uwv" or match[1].startswith(("DW.ref.", "_DW.ref.")):
            continue
        if mangled not in match[1]:
            found.append(f"{match[2]} {match[1]}")
    return found


def main() -> int:
    nm, namespace, *objects = sys.argv[1:]
    if not objects:
        print("no objects given")
        return 2
    foreign = foreign_symbols(nm, namespace, objects)
    for symbol in foreign:
        print(f"outside {namespace}: {symbol}")
    print(f"{len(objects)} objects, {len(foreign)} foreign symbols")
    return 1 if foreign else 0


if __name__ == "__main__":
    sys.exit(main())
