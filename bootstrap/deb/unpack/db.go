package unpack

import (
	"archive/tar"
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// admin is dpkg's database directory.
const admin = "var/lib/dpkg/"

// statusPart is where the status of a later phase waits; see [Summary].
func statusPart(phase int) string {
	if phase == 0 {
		return admin + "status"
	}
	return fmt.Sprintf("%sstatus.cfbuild-%d", admin, phase+1)
}

// database writes what dpkg --unpack of all packages leaves in /var/lib/dpkg, and
// apt's marks of automatically installed packages.
func (t *tree) database(o Options, pkgs []*pkg, phases [][]*pkg) error {
	for _, dir := range []string{"alternatives", "info", "parts", "triggers", "updates"} {
		if _, err := t.dir(admin + dir); err != nil {
			return err
		}
	}
	files := map[string][]byte{
		admin + "arch":        []byte(o.Arch + "\n"),
		admin + "info/format": []byte("1\n"),
	}
	for i, phase := range phases {
		slices.SortFunc(phase, func(a, b *pkg) int { return strings.Compare(a.id(), b.id()) })
		var b bytes.Buffer
		for _, p := range phase {
			p.stanza(&b)
		}
		files[statusPart(i)] = b.Bytes()
	}
	for _, p := range pkgs {
		files[admin+"info/"+p.id()+".list"] = p.list()
		if p.control.member("md5sums") == nil {
			if sums := p.md5sums(); len(sums) > 0 {
				files[admin+"info/"+p.id()+".md5sums"] = sums
			}
		}
	}
	triggers(files, pkgs)
	if slices.ContainsFunc(pkgs, func(p *pkg) bool { return p.Name == "apt" }) {
		if marks := extendedStates(pkgs, o.Arch); len(marks) > 0 {
			files["var/lib/apt/extended_states"] = marks
		}
	}
	for path, data := range files {
		if _, err := t.put(path, 0o644, data); err != nil {
			return err
		}
	}
	return t.infoFiles(pkgs)
}

// infoFiles puts the other members of control.tar into info/, with their own mode
// and time.
func (t *tree) infoFiles(pkgs []*pkg) error {
	for _, p := range pkgs {
		for _, m := range p.control.members {
			n, err := t.put(admin+"info/"+p.id()+"."+m.name, m.mode&0o777, m.data)
			if err != nil {
				return err
			}
			n.e.mtime = m.mtime
		}
	}
	return nil
}

// stanza writes the package's entry of the status file.
func (p *pkg) stanza(b *bytes.Buffer) {
	fmt.Fprintf(b, "Package: %s\nStatus: install ok unpacked\n", p.Name)
	for _, f := range p.control.fields {
		switch strings.ToLower(f.name) {
		case "package", "status", "conffiles":
		default:
			sep := " "
			if f.value == "" || f.value[0] == '\n' {
				sep = ""
			}
			b.WriteString(f.name + ":" + sep + f.value + "\n")
		}
	}
	if len(p.control.conffiles) > 0 {
		b.WriteString("Conffiles:\n")
		for _, c := range p.control.conffiles {
			b.WriteString(" " + c.path + " newconffile")
			if c.removeOnUpgrade {
				b.WriteString(" remove-on-upgrade")
			}
			b.WriteByte('\n')
		}
	}
	b.WriteByte('\n')
}

// list is the package's file list, in the order of its archive.
func (p *pkg) list() []byte {
	var b bytes.Buffer
	for _, e := range p.entries {
		if !p.lost[e.path] {
			b.WriteString("/" + e.path + "\n")
		}
	}
	return b.Bytes()
}

// md5sums is what dpkg writes where a package ships none.
func (p *pkg) md5sums() []byte {
	sums := map[string]string{}
	for _, c := range p.control.conffiles {
		sums[strings.TrimPrefix(c.path, "/")] = "-"
	}
	var b bytes.Buffer
	for _, e := range p.entries {
		sum := e.md5
		if e.kind == tar.TypeLink {
			sum = sums[e.link]
		}
		if sum == "" || sums[e.path] == "-" || p.lost[e.path] {
			continue
		}
		sums[e.path] = sum
		fmt.Fprintf(&b, "%s  %s\n", sum, e.path)
	}
	return b.Bytes()
}

// triggers writes who is interested in which trigger: file triggers in one file,
// each explicit trigger in its own.
func triggers(files map[string][]byte, pkgs []*pkg) {
	files[admin+"triggers/Unincorp"] = nil
	var file []byte
	for _, p := range pkgs {
		for _, t := range p.control.triggers {
			who := p.id()
			if t.noawait {
				who += "/noawait"
			}
			if strings.HasPrefix(t.name, "/") {
				file = append(file, t.name+" "+who+"\n"...)
				continue
			}
			if strings.ContainsAny(t.name, "/ ") || strings.HasPrefix(t.name, ".") {
				continue // not a trigger name dpkg accepts
			}
			name := admin + "triggers/" + t.name
			files[name] = append(files[name], who+"\n"...)
		}
	}
	if len(file) > 0 {
		files[admin+"triggers/File"] = file
	}
}

// extendedStates is apt's list of automatically installed packages.
func extendedStates(pkgs []*pkg, arch string) []byte {
	var b bytes.Buffer
	for _, p := range pkgs {
		if p.Auto {
			a := p.Architecture
			if a == "all" {
				a = arch // as apt has it
			}
			fmt.Fprintf(&b, "Package: %s\nArchitecture: %s\nAuto-Installed: 1\n\n", p.Name, a)
		}
	}
	return b.Bytes()
}
