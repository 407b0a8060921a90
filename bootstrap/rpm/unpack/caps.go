package unpack

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// capNames are the capabilities by number (Linux, capability.h).
var capNames = []string{"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap",
	"linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner", "sys_module", "sys_rawio",
	"sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod",
	"lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read",
	"perfmon", "bpf", "checkpoint_restore"}

// capability makes the value of security.capability (Linux, VFS_CAP_REVISION_2) of
// a text such as "cap_net_admin,cap_net_raw=ep" (cap_from_text(3)): clauses of names,
// an operator and flags.
func capability(text string) (string, error) {
	var effective bool
	var permitted, inheritable uint64
	bad := func() (string, error) { return "", fmt.Errorf("capabilities %q cannot be read", text) }
	for clause := range strings.FieldsSeq(text) {
		i := strings.IndexAny(clause, "=+-")
		if i < 0 {
			return bad()
		}
		set := uint64(0)
		for name := range strings.SplitSeq(clause[:i], ",") {
			name = strings.ToLower(name)
			if name == "" || name == "all" {
				set = 1<<len(capNames) - 1
				continue
			}
			n := slices.Index(capNames, strings.TrimPrefix(name, "cap_"))
			if n < 0 {
				return bad()
			}
			set |= 1 << n
		}
		op := clause[i]
		if op == '=' {
			permitted &^= set
			inheritable &^= set
		}
		for _, flag := range clause[i+1:] {
			on := op != '-'
			change := func(v *uint64) {
				if *v |= set; !on {
					*v &^= set
				}
			}
			switch flag {
			case 'e':
				effective = on
			case 'p':
				change(&permitted)
			case 'i':
				change(&inheritable)
			default:
				return bad()
			}
		}
	}
	if permitted|inheritable == 0 {
		return "", nil
	}
	magic := uint32(0x02000000)
	if effective {
		magic |= 1
	}
	b := binary.LittleEndian.AppendUint32(nil, magic)
	for _, v := range []uint32{uint32(permitted), uint32(inheritable), uint32(permitted >> 32), uint32(inheritable >> 32)} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return string(b), nil
}
