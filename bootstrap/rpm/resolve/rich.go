package resolve

import (
	"fmt"
	"strings"
)

// rich is a boolean dependency (rpm, docs/manual/boolean_dependencies). A leaf has
// no operator.
type rich struct {
	op         string // and or if unless with without
	dep        Dep
	a, b, alse *rich
}

// maxDepth bounds nesting.
const maxDepth = 32

// parseRich reads "(a >= 1 if b else c)".
func parseRich(s string) (*rich, error) {
	p := &richParser{words: tokens(s)}
	r, err := p.group(0)
	if err == nil && len(p.words) > 0 {
		err = fmt.Errorf("%q follows", p.words[0])
	}
	if err != nil {
		return nil, fmt.Errorf("rich dependency %q: %w", s, err)
	}
	return r, nil
}

// tokens splits at spaces, and at parentheses that are not part of a name such as
// "config(x)".
func tokens(s string) []string {
	var out []string
	depth, start := 0, -1
	flush := func(i int) {
		if start >= 0 {
			out = append(out, s[start:i])
		}
		start, depth = -1, 0
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ' || c == '\t':
			flush(i)
		case c == '(' && start < 0, c == ')' && depth == 0:
			flush(i)
			out = append(out, string(c))
		case c == '(':
			depth++
		case c == ')':
			depth--
		case start < 0:
			start = i
		}
	}
	flush(len(s))
	return out
}

type richParser struct{ words []string }

func (p *richParser) next() string {
	if len(p.words) == 0 {
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w
}

func (p *richParser) group(depth int) (*rich, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested too deeply")
	}
	if w := p.next(); w != "(" {
		return nil, fmt.Errorf("%q is no parenthesis", w)
	}
	left, err := p.operand(depth)
	if err != nil {
		return nil, err
	}
	for {
		op := p.next()
		switch op {
		case ")":
			return left, nil
		case "and", "or", "if", "unless", "with", "without":
		default:
			return nil, fmt.Errorf("%q is no operator", op)
		}
		right, err := p.operand(depth)
		if err != nil {
			return nil, err
		}
		left = &rich{op: op, a: left, b: right}
		if (op == "if" || op == "unless") && len(p.words) > 0 && p.words[0] == "else" {
			p.next()
			if left.alse, err = p.operand(depth); err != nil {
				return nil, err
			}
		}
	}
}

func (p *richParser) operand(depth int) (*rich, error) {
	if len(p.words) > 0 && p.words[0] == "(" {
		return p.group(depth + 1)
	}
	name := p.next()
	if name == "" || name == ")" {
		return nil, fmt.Errorf("a name is missing")
	}
	d := Dep{Name: name}
	if len(p.words) > 1 && strings.Trim(p.words[0], "<>=") == "" {
		d.Op = ParseOp(p.next())
		d.EVR = ParseEVR(p.next())
	}
	return &rich{dep: d}, nil
}

// ParseOp reads "<", ">=", "=" and the like.
func ParseOp(s string) Op {
	var op Op
	for _, c := range s {
		switch c {
		case '<':
			op |= Less
		case '>':
			op |= Greater
		case '=':
			op |= Equal
		}
	}
	return op
}
