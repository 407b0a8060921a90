package site

import (
	"errors"
	"fmt"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// value is a TOML value that knows its line. A table keeps the order of its keys.
type value struct {
	kind  string // "string", "boolean", "array", "table", or another type's name
	line  int
	text  string // of a string
	truth bool   // of a boolean
	items []*value
	keys  []string
	table map[string]*value
}

func newTable(line int) *value {
	return &value{kind: "table", line: line, table: map[string]*value{}}
}

func (v *value) set(key string, to *value) {
	if v.table[key] == nil {
		v.keys = append(v.keys, key)
	}
	v.table[key] = to
}

// child gives the table under key, made if it is missing; of an array of tables,
// the last one.
func (v *value) child(key string, line int) *value {
	c := v.table[key]
	if c == nil {
		c = newTable(line)
		v.set(key, c)
	}
	if c.kind == "array" && len(c.items) > 0 {
		return c.items[len(c.items)-1]
	}
	return c
}

// parseTOML gives the document as a tree. The TOML library first decides what is
// a legal document (syntax, duplicate keys); the tree then adds the lines.
func parseTOML(data []byte) (*value, int, *fault) {
	var any map[string]any
	if err := toml.Unmarshal(data, &any); err != nil {
		line := 0
		var d *toml.DecodeError
		if errors.As(err, &d) {
			line, _ = d.Position()
		}
		return nil, line, &fault{fmt.Sprintf("is not TOML: %s", trimTOML(err)), "strings stand in quotes, lists in [ ], tables begin with [name]"}
	}
	p := &unstable.Parser{}
	p.Reset(data)
	root := newTable(1)
	at := root
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			at = root
			var path []string
			line := 0
			for it := e.Key(); it.Next(); {
				path = append(path, string(it.Node().Data))
				line = p.Shape(it.Node().Raw).Start.Line
			}
			last := path[len(path)-1]
			for _, k := range path[:len(path)-1] {
				at = at.child(k, line)
			}
			if e.Kind == unstable.Table {
				at = at.child(last, line)
				at.line = line
				continue
			}
			list := at.table[last]
			if list == nil {
				list = &value{kind: "array", line: line}
				at.set(last, list)
			}
			list.items = append(list.items, newTable(line))
			at = list.items[len(list.items)-1]
		case unstable.KeyValue:
			put(p, at, e)
		}
	}
	if err := p.Error(); err != nil {
		return nil, 0, &fault{"is not TOML: " + trimTOML(err), ""}
	}
	return root, 0, nil
}

func put(p *unstable.Parser, at *value, e *unstable.Node) {
	var path []string
	line := 0
	for it := e.Key(); it.Next(); {
		path = append(path, string(it.Node().Data))
		line = p.Shape(it.Node().Raw).Start.Line
	}
	for _, k := range path[:len(path)-1] {
		at = at.child(k, line)
	}
	at.set(path[len(path)-1], convert(p, e.Value(), line))
}

func convert(p *unstable.Parser, n *unstable.Node, line int) *value {
	if n.Raw.Length > 0 {
		line = p.Shape(n.Raw).Start.Line
	}
	v := &value{line: line}
	switch n.Kind {
	case unstable.String:
		v.kind, v.text = "string", string(n.Data)
	case unstable.Bool:
		v.kind, v.truth = "boolean", string(n.Data) == "true"
	case unstable.Array:
		v.kind = "array"
		for it := n.Children(); it.Next(); {
			if it.Node().Kind != unstable.Comment {
				v.items = append(v.items, convert(p, it.Node(), line))
			}
		}
	case unstable.InlineTable:
		v = newTable(line)
		for it := n.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				put(p, v, it.Node())
			}
		}
	case unstable.Integer:
		v.kind = "number"
	case unstable.Float:
		v.kind = "number"
	default:
		v.kind = "date"
	}
	return v
}

// trimTOML drops the library's name from its messages.
func trimTOML(err error) string {
	s := err.Error()
	if len(s) > 6 && s[:6] == "toml: " {
		s = s[6:]
	}
	return s
}
