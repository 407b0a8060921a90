package bootstrap

import "github.com/cfbuild/cfbuild/pipelines"

// Sink takes the events of one step of the request's job.
func (r Request) Sink(step string) pipelines.Sink { return r.Events.With(r.Job, step) }

// Begin sends the start of a step, and gives what sends its end: with a text for
// people, or as failed.
func (r Request) Begin(step, name string) (ev pipelines.Sink, done func(text string, err error)) {
	ev = r.Sink(step)
	ev.Send(pipelines.Event{Kind: pipelines.EventStart, Name: name})
	return ev, func(text string, err error) {
		if err != nil {
			ev.Send(pipelines.Event{Kind: pipelines.EventFailed, Name: name, Text: err.Error()})
			return
		}
		ev.Send(pipelines.Event{Kind: pipelines.EventDone, Name: name, Text: text})
	}
}
