package gitlab

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/cfbuild/cfbuild/publishers"
)

// put sends one file as the policy asks for.
func (j *job) put(ctx context.Context, f *content, p *publishers.Progress) (string, error) {
	c := j.c
	status := ""
	if j.reveal && j.have.id == 0 && !j.created {
		status = "hidden"
	}
	sum, err := j.place(ctx, f, status, c.o.Policy == Replace, p)
	if err == nil && status != "" {
		err = j.unhide(ctx)
	}
	return sum, err
}

// unhide mends what a first upload does to a version that another job created and
// finished meanwhile: it hides it.
func (j *job) unhide(ctx context.Context) error {
	now, err := j.c.look(ctx, nil)
	if err != nil {
		return err
	}
	j.have.id = now.id
	if _, ok := now.newest(Sums); !ok || now.status != "hidden" {
		return nil
	}
	data, err := j.c.fetch(ctx, Sums)
	if err != nil || len(data) == 0 {
		return err
	}
	f, err := open(File{Name: Sums, Data: data})
	if err != nil {
		return err
	}
	j.have.files[Sums] = now.files[Sums]
	if _, err = j.place(ctx, f, "default", true, &publishers.Progress{Total: f.size}); err == nil {
		j.reveal = false
	}
	return err
}

// place sends a file and, if it is to replace what was there, deletes that: after it
// where GitLab stores both, before it where the group turned duplicates off.
func (j *job) place(ctx context.Context, f *content, status string, replace bool, p *publishers.Progress) (string, error) {
	c := j.c
	old := j.have.files[f.name]
	sum, stored, err := c.send(ctx, f, status, p)
	if duplicate(err) && replace && len(old) > 0 && c.lists() {
		c.warn("%s: duplicates are turned off: the old %s is deleted first", c.host, f.name)
		for _, o := range old {
			if e := c.deleteFile(ctx, j.have.id, o.id); e != nil {
				return "", fmt.Errorf("%w; deleting the old %s: %w", err, f.name, e)
			}
		}
		j.lost = append(j.lost, f.name)
		if sum, stored, err = c.send(ctx, f, status, p); err == nil {
			j.lost = j.lost[:len(j.lost)-1]
			old = nil
		}
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", f.name, err)
	}
	j.created = true
	j.taken += f.size
	if replace && c.lists() {
		for _, o := range old {
			if o.id == stored.id {
				continue
			}
			if err := c.deleteFile(ctx, j.have.id, o.id); err != nil {
				c.warn("the old %s stays beside the new one, which is what GitLab serves: %v", f.name, err)
			}
		}
	}
	j.have.files[f.name] = []copyOf{stored}
	return sum, nil
}

// describe publishes NAME.json beside a file.
func (j *job) describe(ctx context.Context, f *content, sum string, meta any) error {
	data, err := json.MarshalIndent(struct {
		Version int    `json:"version"`
		File    string `json:"file"`
		Size    int64  `json:"size"`
		SHA256  string `json:"sha256"`
		Meta    any    `json:"meta"`
	}{1, f.name, f.size, sum, meta}, "", "  ")
	if err != nil {
		return fmt.Errorf("%s.json: %w", f.name, err)
	}
	in, err := open(File{Name: f.name + ".json", Data: append(data, '\n')})
	if err != nil {
		return err
	}
	j.stage = "compare"
	known, err := j.compare(ctx, in)
	if err != nil {
		return err
	}
	j.stage = "upload"
	stored := Stored{Name: in.name, Size: in.size, SHA256: known, Sent: known == ""}
	if stored.Sent {
		if stored.SHA256, err = j.put(ctx, in, &publishers.Progress{Total: in.size}); err != nil {
			return err
		}
	}
	j.sent = append(j.sent, stored)
	return nil
}
