package pipelines

// Image is an immutable handle on a definition: a source and the steps on top of
// it, for one platform. The zero Image is invalid. Images may be shared and used
// by several goroutines at once.
type Image struct{ n *node }

type node struct {
	op       Op
	inputs   []*node // base first, then Copy.From or Run.Mounts' images in order
	platform Platform
	where    Position
	invalid  *InvalidError // instead of op: see Invalid
}

// From starts an image for one platform at a source.
func From(p Platform, src Source) Image {
	return Image{&node{op: src, platform: p.Normalize(), where: caller()}}
}

// Invalid is an image that cannot be made, for recipes whose options make no
// sense: [Image.Graph] of it, and of whatever is built on it or copies from it, gives
// the error. Where it names no line, the author's is filled in.
func Invalid(p Platform, e InvalidError) Image {
	n := &node{platform: p.Normalize(), where: caller(), invalid: &e}
	if e.Where == (Position{}) {
		e.Where = n.where
	}
	return Image{n}
}

// Then adds steps in order.
func (i Image) Then(steps ...Step) Image {
	where := caller()
	for _, s := range steps {
		n := &node{op: s, where: where}
		if i.n != nil {
			n.inputs, n.platform = []*node{i.n}, i.n.platform
		}
		n.inputs = append(n.inputs, from(s)...)
		i = Image{n}
	}
	return i
}

// from lists the other images an operation reads; images that are empty are left
// out, which the check tells from the count.
func from(op Op) []*node {
	var out []*node
	switch o := op.(type) {
	case Copy:
		if o.From.n != nil {
			out = append(out, o.From.n)
		}
	case Run:
		for _, m := range o.Mounts {
			if m.From.n != nil {
				out = append(out, m.From.n)
			}
		}
	}
	return out
}

// With applies functions in order, so recipes compose:
// img.With(debian.Trust(cas), common.Labels(l)).
func (i Image) With(fs ...func(Image) Image) Image {
	for _, f := range fs {
		i = f(i)
	}
	return i
}

// Platform of the image; the zero Platform for the zero Image.
func (i Image) Platform() Platform {
	if i.n == nil {
		return Platform{}
	}
	return i.n.platform
}
