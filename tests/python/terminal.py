"""Talks with `vertex-chat chat --emulator` over a terminal, as a person would. Argument: the program."""

import os
import pty
import select
import signal
import sys
import time


def main(program: str) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(program, [program, "chat", "--emulator"])
    seen = ""

    def expect(text: str) -> None:
        nonlocal seen
        end = time.monotonic() + 30
        while text not in seen:
            left = end - time.monotonic()
            if left <= 0 or not select.select([terminal], [], [], left)[0]:
                raise SystemExit(f"waited in vain for {text!r} in {seen!r}")
            seen += os.read(terminal, 4096).decode()
        seen = seen.split(text, 1)[1]

    expect("Ctrl-D")
    expect("> ")
    os.write(terminal, b"first question\n")
    expect("I received 1 message")
    expect("> ")
    os.write(terminal, b"\n")
    expect("> ")
    os.write(terminal, b"second question\n")
    # The first question and its answer go along.
    expect("I received 3 messages")
    expect("says: second question")
    expect("> ")
    os.write(terminal, b"\x04")
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise SystemExit(f"ended with {status}")

    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(program, [program, "chat", "--emulator"])
    seen = ""
    expect("> ")
    os.kill(pid, signal.SIGINT)
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) != 130:
        raise SystemExit(f"Ctrl-C at the prompt ended with {status}")


main(sys.argv[1])
