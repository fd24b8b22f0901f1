package main

import (
	"fmt"
	"strings"
	"time"
)

// progress shows on standard error how far long work has come, if that is a
// terminal and nothing else is printed to it as the work goes on.
type progress struct {
	g     *globals
	label string
	shown time.Time
	on    bool
}

// progress begins to show the work that label names. Call end before anything
// else is printed.
func (g *globals) progress(label string) *progress {
	return &progress{g: g, label: label, on: isTerminal(g.err)}
}

// set says that done of all has been done; it draws at most ten times a second.
func (p *progress) set(done, all int64) {
	const width, every = 30, 100 * time.Millisecond
	if !p.on || all <= 0 || time.Since(p.shown) < every {
		return
	}
	p.shown = time.Now()
	share := min(float64(done)/float64(all), 1)
	full := int(share * width)
	fmt.Fprintf(p.g.err, "\r%s [%s%s] %3.0f %%", p.label, strings.Repeat("#", full), strings.Repeat(".", width-full), 100*share)
}

// end removes what was drawn.
func (p *progress) end() {
	if !p.shown.IsZero() {
		fmt.Fprint(p.g.err, "\r\x1b[K")
	}
}
