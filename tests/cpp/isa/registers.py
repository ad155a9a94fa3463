"""Checks that no code uses the registers of MMX: registers.py OBJDUMP LIBRARY...

They are the x87 registers, which `long double` needs empty; compilers move 64 bits through one now and then.
"""

import re
import subprocess
import sys


def main() -> int:
    objdump, *libraries = sys.argv[1:]
    if not libraries:
        print("no libraries given")
        return 2
    found = instructions = 0
    for library in libraries:
        function = ""
        command = [objdump, "-d", "--no-show-raw-insn", library]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listing:
            for line in listing.stdout or ():
                if line.endswith(">:\n"):
                    function = line.split("<", 1)[1][:-3]
                elif line.startswith(" "):
                    instructions += 1
                    if re.search(r"%mm[0-7]", line):
                        found += 1
                        print(f"{library}: {function}: {line.strip()}")
        if listing.returncode:
            return 2
    print(f"{instructions} instructions, {found} with registers of MMX")
    return 1 if found or not instructions else 0


if __name__ == "__main__":
    sys.exit(main())
