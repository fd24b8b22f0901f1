package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

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
	f, ok := destination(w).(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminalSize is the columns and lines of the terminal that w is, 0 of what
// has none.
func terminalSize(w io.Writer) (columns, lines int) {
	f, ok := destination(w).(*os.File)
	if !ok {
		return 0, 0
	}
	columns, lines, err := term.GetSize(int(f.Fd()))
	if err != nil { // no terminal
		return 0, 0
	}
	return columns, lines
}

// destination is where what is written to w ends up.
func destination(w io.Writer) io.Writer {
	if f, ok := w.(*frame); ok {
		return f.on
	}
	return w
}

// count is a number of things: 1 event, 2 events.
func count[N int | int64 | uint64](n N, thing string) string {
	switch {
	case n == 1:
		return "1 " + thing
	case strings.HasSuffix(thing, "try"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(thing, "y"))
	}
	return fmt.Sprintf("%d %ss", n, thing)
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
