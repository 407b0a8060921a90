package ca

import (
	"fmt"
	"io"
	"strings"
)

// Write writes the matrix: a row for each client that any image has, a column for
// each image, and below it what is wrong.
func Write(w io.Writer, images []Image) error {
	names := make([][]string, len(images))
	width := make([]int, len(images))
	for n, i := range images {
		names[n] = []string{i.Target, i.Platform.String()}
		width[n] = max(len(i.Target), len(i.Platform.String()), len("FAIL"))
	}
	first := len("client")
	var rows []int
	for r, c := range Clients() {
		for _, i := range images {
			if r < len(i.Clients) && i.Clients[r].Status != Absent {
				rows = append(rows, r)
				first = max(first, len(c.Name))
				break
			}
		}
	}
	var b strings.Builder
	line := func(head string, cell func(n int) string) {
		l := fmt.Sprintf("%-*s", first, head)
		for n := range images {
			l += fmt.Sprintf("  %-*s", width[n], cell(n))
		}
		b.WriteString(strings.TrimRight(l, " ") + "\n")
	}
	line("", func(n int) string { return names[n][0] })
	line("client", func(n int) string { return names[n][1] })
	for _, r := range rows {
		line(Clients()[r].Name, func(n int) string {
			if r >= len(images[n].Clients) {
				return "?"
			}
			switch images[n].Clients[r].Status {
			case Passed:
				return "ok"
			case Failed:
				return "FAIL"
			}
			return "-"
		})
	}
	var wrong strings.Builder
	for _, i := range images {
		if i.Fault != "" {
			fmt.Fprintf(&wrong, "%s %s: %s\n", i.Target, i.Platform, i.Fault)
		}
		for _, v := range i.Clients {
			if v.Status == Failed {
				fmt.Fprintf(&wrong, "%s %s: %s: %s\n", i.Target, i.Platform, v.Client, v.Why)
			}
		}
	}
	if wrong.Len() > 0 {
		b.WriteString("\n" + wrong.String())
	}
	_, err := io.WriteString(w, b.String())
	return err
}
