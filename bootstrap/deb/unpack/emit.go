package unpack

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"time"
)

// emitter writes a tree as a tar: parents before children, names in byte order.
type emitter struct {
	ctx      context.Context
	tw       *tar.Writer
	epoch    int64
	written  map[*node]string // first path of files that have hard links
	linked   map[*node]bool
	buf      []byte
	progress func(done int64)
	done     int64
	entries  int
}

func (t *tree) emit(ctx context.Context, w io.Writer, epoch int64, progress func(int64)) (entries int, err error) {
	em := &emitter{ctx: ctx, tw: tar.NewWriter(w), epoch: epoch, written: map[*node]string{},
		linked: map[*node]bool{}, buf: make([]byte, 256<<10), progress: progress}
	em.findLinks(t.root)
	if err := em.walk(t.root, ""); err != nil {
		return 0, err
	}
	return em.entries, em.tw.Close()
}

func (em *emitter) findLinks(n *node) {
	if n.target != nil {
		em.linked[n.target] = true
	}
	for _, c := range n.children {
		em.findLinks(c)
	}
}

func (em *emitter) walk(n *node, path string) error {
	if err := em.write(n, path); err != nil {
		return fmt.Errorf("write /%s: %w", path, err)
	}
	if path != "" {
		path += "/"
	}
	for _, c := range n.sortedChildren() {
		if err := em.walk(c, path+c.name); err != nil {
			return err
		}
	}
	return nil
}

func (em *emitter) write(n *node, path string) error {
	if em.ctx.Err() != nil {
		return context.Cause(em.ctx)
	}
	em.entries++
	file := n
	if n.target != nil {
		file = n.target
	}
	e := file.e
	h := &tar.Header{Typeflag: e.kind, Name: path, Mode: e.mode, Uid: e.uid, Gid: e.gid,
		ModTime: time.Unix(max(0, min(e.mtime, em.epoch)), 0)}
	switch e.kind {
	case tar.TypeDir:
		h.Name += "/"
		if path == "" {
			h.Name = "./"
		}
	case tar.TypeSymlink:
		h.Linkname = e.link
	case tar.TypeChar, tar.TypeBlock:
		h.Devmajor, h.Devminor = e.major, e.minor
	case tar.TypeReg:
		if em.linked[file] {
			if first, ok := em.written[file]; ok {
				h.Typeflag, h.Linkname = tar.TypeLink, first
				return em.tw.WriteHeader(h)
			}
			em.written[file] = path
		}
		h.Size = e.size
	}
	for k, v := range e.xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[paxXattr+k] = v
	}
	if err := em.tw.WriteHeader(h); err != nil {
		return err
	}
	if e.kind == tar.TypeReg {
		return em.content(file)
	}
	return nil
}

func (em *emitter) content(n *node) error {
	if n.e.spool == nil {
		_, err := em.tw.Write(n.data)
		return err
	}
	for off, left := n.e.offset, n.e.size; left > 0; {
		p := em.buf[:min(int64(len(em.buf)), left)]
		if _, err := n.e.spool.f.ReadAt(p, off); err != nil {
			return &spoolError{noEOF(err)}
		}
		if _, err := em.tw.Write(p); err != nil {
			return err
		}
		off, left = off+int64(len(p)), left-int64(len(p))
		em.done += int64(len(p))
	}
	if em.progress != nil {
		em.progress(em.done)
	}
	return nil
}

// read gives the content of a node.
func (n *node) read() ([]byte, error) {
	if n.e.spool == nil {
		return n.data, nil
	}
	p := make([]byte, n.e.size)
	if _, err := n.e.spool.f.ReadAt(p, n.e.offset); err != nil {
		return nil, &spoolError{noEOF(err)}
	}
	return p, nil
}
