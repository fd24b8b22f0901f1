package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"forebay/node/admin"
	"forebay/shipper"
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

// table writes rows in columns; a first row in capitals is the heading.
func (g *globals) table(rows ...[]string) error {
	var widths []int
	for _, r := range rows {
		for i := range r {
			r[i] = plain(r[i])
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(r[i]))
		}
	}
	color := colored(g.out)
	for at, r := range rows {
		heading := at == 0 && strings.ToUpper(strings.Join(r, "")) == strings.Join(r, "")
		var line strings.Builder
		for i, cell := range r {
			pad := 2 + widths[i] - utf8.RuneCountInString(cell)
			if code := cellColor(cell, heading); color && code != "" {
				cell = "\x1b[" + code + "m" + cell + "\x1b[0m"
			}
			line.WriteString(cell)
			if i < len(r)-1 {
				line.WriteString(strings.Repeat(" ", pad))
			}
		}
		if _, err := fmt.Fprintln(g.out, line.String()); err != nil {
			return err
		}
	}
	return nil
}

// cellColor is the colour of a cell that stands for a state, as a terminal's code.
func cellColor(cell string, heading bool) string {
	const bold, red, green, yellow = "1", "31", "32", "33"
	if heading {
		return bold
	}
	switch cell {
	case "ok", shipper.Running, "yes", inUse:
		return green
	case shipper.Paused, wantsRestart:
		return yellow
	case "NOT OK", shipper.Failing, "NO", unreachable:
		return red
	}
	return ""
}

// plain is text that cannot steer a terminal: it may come from a sender.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// colored tells whether what is written to w may have colours: w is a terminal
// and NO_COLOR is not set.
func colored(w io.Writer) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(w)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// bytesText is a size for people: 12.3 MiB.
func bytesText(n int64) string { return admin.BytesText(n) }

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
	if days := d.Hours() / 24; days >= 3 {
		return fmt.Sprintf("%.0f days", days)
	}
	return d.Round(time.Second).String()
}
