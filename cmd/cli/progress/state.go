package progress

import (
	"time"

	"github.com/cfbuild/cfbuild/pipelines"
)

// state is what a renderer knows of the run. Jobs and steps appear when an event
// first names them: a push has no job of its own.
type state struct {
	jobs []*job
}

type job struct {
	id, name string
	start    time.Time
	steps    []*step // running ones, oldest first
}

type step struct {
	id, name, where string
	start           time.Time
	log             string          // last line
	amount          pipelines.Event // last progress
	measured        bool
}

func (s *state) job(e pipelines.Event) *job {
	for _, j := range s.jobs {
		if j.id == e.Job {
			return j
		}
	}
	j := &job{id: e.Job, name: e.Job, start: e.Time}
	s.jobs = append(s.jobs, j)
	return j
}

func (j *job) step(e pipelines.Event) *step {
	for _, st := range j.steps {
		if st.id == e.Step {
			if e.Name != "" {
				st.name = e.Name
			}
			return st
		}
	}
	st := &step{id: e.Step, name: e.Name, where: e.Where, start: e.Time}
	if st.name == "" {
		st.name = e.Step
	}
	j.steps = append(j.steps, st)
	return st
}

// ended takes a finished step out and gives it; nil if it never started.
func (j *job) ended(id string) *step {
	for i, st := range j.steps {
		if st.id == id {
			j.steps = append(j.steps[:i:i], j.steps[i+1:]...)
			return st
		}
	}
	return nil
}

func (s *state) remove(id string) {
	for i, j := range s.jobs {
		if j.id == id {
			s.jobs = append(s.jobs[:i:i], s.jobs[i+1:]...)
			return
		}
	}
}

func finished(k pipelines.EventKind) bool {
	return k == pipelines.EventDone || k == pipelines.EventCached || k == pipelines.EventFailed
}

// routine events say that a step goes its way.
func routine(k pipelines.EventKind) bool {
	return k != pipelines.EventWarning && k != pipelines.EventNote && k != pipelines.EventFailed
}
