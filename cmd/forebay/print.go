package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// printJSON writes v as indented JSON.
func (g *globals) printJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	_, err = fmt.Fprintln(g.out, string(text))
	return err
}

// printLine writes v as one line of JSON.
func (g *globals) printLine(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	_, err = fmt.Fprintf(g.out, "%s\n", text)
	return err
}

// table writes rows in columns; the first row is the heading.
func (g *globals) table(rows ...[]string) error {
	w := tabwriter.NewWriter(g.out, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		if _, err := fmt.Fprintln(w, strings.Join(r, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// bytesText is a size for people: 12.3 MiB.
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, i := float64(n)/unit, 0
	for value >= unit && i < 4 {
		value /= unit
		i++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[i])
}

// ago is the age of a time for people, "-" for none.
func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return seconds(time.Since(t).Seconds())
}

func seconds(s float64) string {
	if s <= 0 {
		return "0s"
	}
	d := time.Duration(s * float64(time.Second))
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
