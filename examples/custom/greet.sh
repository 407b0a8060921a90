#!/bin/sh
# Says hello, and where.
printf 'Hello from %s on %s.\n' "$(id -un)" "$(uname -m)"
