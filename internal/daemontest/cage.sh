# Run as the first process of new mount and process namespaces: gives a daemon its own
# /proc, control groups below one named after it, and ends it with the test.
#   sh -euc "$(cat cage.sh)" cage NAME COMMAND...      standard input: the test's life
name=$1
shift
mount --make-rprivate /
mount -t proc proc /proc

# One group in each hierarchy. What the daemon makes is below it, and goes with it.
while IFS=: read -r _ controllers path; do
	case $controllers in
	'') for mnt in /sys/fs/cgroup /sys/fs/cgroup/unified; do [ ! -f "$mnt/cgroup.controllers" ] || break; done ;;
	*) mnt=/sys/fs/cgroup/${controllers#name=} ;;
	esac
	[ -e "$mnt/cgroup.procs" ] || continue
	group=$mnt${path%/}/$name
	mkdir -p "$group"
	for f in cpuset.cpus cpuset.mems; do
		# A group of version 1 starts with no processors, and takes no process then.
		[ ! -f "$group/$f" ] || [ -f "$group/cgroup.controllers" ] || cat "$group/../$f" >"$group/$f"
	done
	echo $$ >"$group/cgroup.procs"
done </proc/self/cgroup

# What the test holds open ends with it, also when it is killed.
exec 3<&0 </dev/null
(cat <&3 >/dev/null; kill -TERM 1) &
exec 3<&-

exec unshare --cgroup -- sh -euc '
for mnt in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
	mnt=${mnt%/}
	mountpoint -q "$mnt" || continue
	if [ -f "$mnt/cgroup.controllers" ]; then
		umount "$mnt"
		mount -t cgroup2 cgroup2 "$mnt"
		# A group of version 2 with processes in it gives its children no controllers.
		mkdir -p "$mnt/init"
		while read -r p; do echo "$p" >"$mnt/init/cgroup.procs"; done <"$mnt/cgroup.procs"
		for c in $(cat "$mnt/cgroup.controllers"); do echo "+$c" >"$mnt/cgroup.subtree_control" || true; done
	elif [ -f "$mnt/cgroup.procs" ]; then
		what=${mnt##*/}
		[ "$what" != systemd ] || what=none,name=systemd
		umount "$mnt"
		mount -t cgroup -o "$what" cgroup "$mnt"
	fi
done
exec "$@"' cage "$@"
