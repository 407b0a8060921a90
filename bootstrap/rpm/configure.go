package rpm

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cfbuild/cfbuild/bootstrap/rootcache"
	"github.com/cfbuild/cfbuild/pipelines"
)

// configure makes the step that installs the packages with the distribution's own
// rpm into /target: keys, packages with their scripts, then what would differ from
// run to run is cleaned up. It is one step: nothing of it but /target stays. The
// text depends on the packages, the keys and the platforms alone.
func configure(set selection, keys []key, foreign bool) pipelines.Run {
	var b strings.Builder
	b.WriteString(prologue)
	for _, k := range keys {
		fmt.Fprintf(&b, "rpm --root $t --import %s/%s\n", keysDir, k.Name)
	}
	flags := ""
	if foreign {
		flags = " --ignorearch"
	}
	fmt.Fprintf(&b, "rpm --root $t -U%s --define '_pkgverify_level all' --define '_netsharedpath /proc:/dev' %s/*.rpm </dev/null\n", flags, packages)
	fmt.Fprintf(&b, "want=%d\n", len(set.Packages))
	b.WriteString(check)
	for _, k := range keys {
		if k.BuildOnly {
			fmt.Fprintf(&b, forget, k.ID)
		}
	}
	b.WriteString(epilogue)
	return pipelines.Run{
		Name:    "install packages",
		Shell:   b.String(),
		Network: pipelines.NetworkNone,
		Roots:   []string{target},
		Env: map[string]string{
			"PATH":              rootcache.Path,
			"HOME":              "/root",
			"LC_ALL":            "C",
			"SOURCE_DATE_EPOCH": strconv.FormatInt(set.Epoch.Unix(), 10),
		},
		User: "0:0",
		Dir:  "/",
	}
}

// prologue: the first stage has /target with dev and proc, which rpm is kept from
// (_netsharedpath): something is mounted there. Where a builder cannot do that, scripts
// get the device nodes that they use, or what comes near to them, and no /proc.
const prologue = `t=/target
umask 022
made=
if [ ! -e $t/dev/null ]; then
	made=yes
	for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9"; do
		set -- $node
		mknod -m 666 $t/dev/$1 c $2 $3 2>/dev/null || [ $1 != null ] || : >$t/dev/null
	done
	ln -s /proc/self/fd $t/dev/fd
fi
`

// check: rpm leaves out a package whose %pre fails, and says so only in its output.
const check = `set -- $(rpm --root $t -qa --qf '%{NAME}\n' | sort)
got=0
for n; do
	[ "$n" = gpg-pubkey ] || got=$((got + 1))
done
[ $got = $want ] || {
	echo "rpm installed $got of $want packages" >&2
	exit 1
}
`

// forget takes a key out of rpm's database. rpm calls it by the last eight digits of
// its fingerprint, from release 6 on by all of it.
const forget = `for key in $(rpm --root $t -qa 'gpg-pubkey*'); do
	case $key in gpg-pubkey-*%s-*) rpm --root $t -e "$key" ;; esac
done
`

// epilogue removes what the work itself left and what would differ from run to run,
// then mends the times in rpm's database: the database is written out, mended and
// read into a new one, which has the same bytes each time. A rpm that cannot write
// it out (EL 7) leaves the time of the build in it.
const epilogue = `[ -z "$made" ] || rm -rf $t/dev/*
rm -f $t/var/cache/ldconfig/aux-cache $t/var/lib/dbus/machine-id $t/var/lib/systemd/random-seed \
	$t/var/log/dnf*.log $t/var/log/yum.log $t/var/log/hawkey.log $t/etc/.pwd.lock
[ ! -s $t/etc/machine-id ] || : >$t/etc/machine-id
rm -rf $t/tmp/* $t/var/tmp/*
db=$(rpm --eval %_dbpath)
if rpmdb --root $t --exportdb >/cfbuild/db 2>/dev/null && [ -s /cfbuild/db ]; then
	rpm --eval '%{lua:dofile("/cfbuild/mend.lua")}' >/cfbuild/mended
	[ "$(cat /cfbuild/mended)" = ok ] || { cat /cfbuild/mended >&2; exit 1; }
	rm -rf $t$db/*
	rpmdb --root $t --importdb </cfbuild/db
	set -- $(rpm --root $t -qa)
	[ $# -ge $want ] || { echo "rpm's database has $# of $want packages after it was mended" >&2; exit 1; }
fi
rm -f $t$db/__db.* $t$db/.rpm.lock $t$db/rpmdb.sqlite-shm
[ -s $t$db/rpmdb.sqlite-wal ] || rm -f $t$db/rpmdb.sqlite-wal
`

// mendLua sets the time and the number of the transaction of every header in the
// file that rpmdb --exportdb writes to the epoch. It runs in rpm's own Lua.
const mendLua = `local path = "/cfbuild/db"
local epoch = tonumber(os.getenv("SOURCE_DATE_EPOCH"))
local f = assert(io.open(path, "rb"))
local s = f:read("*a")
f:close()
local function int(at)
	local a, b, c, d = s:byte(at, at + 3)
	return ((a * 256 + b) * 256 + c) * 256 + d
end
local function bytes(n)
	local d = n % 256; n = (n - d) / 256
	local c = n % 256; n = (n - c) / 256
	local b = n % 256; n = (n - b) / 256
	return string.char(n % 256, b, c, d)
end
local out, last, at = {}, 1, 1
local patch = {}
while at < #s do
	if int(at) ~= 0x8eade801 then
		print("rpm's database cannot be read: no header at " .. at)
		return
	end
	local n, size = int(at + 8), int(at + 12)
	local data = at + 16 + 16 * n
	for i = 0, n - 1 do
		local e = at + 16 + 16 * i
		local tag, kind, off = int(e), int(e + 4), int(e + 8)
		if (tag == 1008 or tag == 1128) and kind == 4 then
			patch[#patch + 1] = data + off
		end
	end
	at = data + size
end
table.sort(patch)
for _, p in ipairs(patch) do
	out[#out + 1] = s:sub(last, p - 1)
	out[#out + 1] = bytes(epoch)
	last = p + 4
end
out[#out + 1] = s:sub(last)
f = assert(io.open(path, "wb"))
f:write(table.concat(out))
f:close()
print("ok")
`
