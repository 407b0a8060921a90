#!/bin/sh
# runc for a daemon whose root lacks CAP_SYS_RESOURCE, which old Dockers give a privileged
# container all the same: the container gets what there is.
bundle=.
previous=
for a; do
	case $previous in --bundle | -b) bundle=$a ;; esac
	previous=$a
done
case " $* " in
*" create "* | *" run "*) sed -i 's/"CAP_SYS_RESOURCE",//g; s/,"CAP_SYS_RESOURCE"//g' "$bundle/config.json" ;;
esac
exec runc "$@"
