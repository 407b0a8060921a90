# Makes a directory the root of this mount namespace, and runs a command in it:
#   sh -euc "$(cat enter.sh)" enter ROOT STATE COMMAND...
# STATE, a directory, is there under its own name, as are devices and control groups.
root=$1 state=$2
shift 2
# The unpacked root is for all tests: what this daemon changes in it is its own.
mkdir -p "$state/upper" "$state/work" "$state/merged"
mount -t overlay -o "lowerdir=$root,upperdir=$state/upper,workdir=$state/work" overlay "$state/merged"
root=$state/merged
mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/old" "$root$state" "$root/run"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount --rbind "$state" "$root$state"
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
cd "$root"
pivot_root . old
umount -l /old
cd /
exec "$@"
