package golden

import "testing"

func TestDiff(t *testing.T) {
	for _, c := range []struct{ want, got, diff string }{
		{"a\nb\n", "a\nb\n", ""},
		{"a\nb\n", "a\nc\n", "line 2\n want \"b\"\n got  \"c\""},
		{"a\n", "a\nb\n", "line 2\n want \"\"\n got  \"b\""},
		{"a", "a\nb", "line 2 is new: \"b\""},
		{"a\nb", "a", "line 2 is missing: \"b\""},
	} {
		if d := Diff(c.want, c.got); d != c.diff {
			t.Errorf("Diff(%q, %q) = %q, want %q", c.want, c.got, d, c.diff)
		}
	}
}
