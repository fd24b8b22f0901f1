package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// frame holds one picture of a live view until it is whole.
type frame struct {
	bytes.Buffer
	on io.Writer // where it is shown
}

// live shows what draw writes, again and again until ctx ends, or so many
// times if times is not 0. What cannot be drawn is shown as the reason: a live
// view outlasts a restart of its node.
func (g *globals) live(ctx context.Context, every time.Duration, times int, draw func(*globals) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 1; ; n++ {
		f := &frame{on: g.out}
		on := *g
		on.out = f
		if err := draw(&on); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			fmt.Fprintf(f, "%s %v\n", time.Now().Format(time.TimeOnly), err)
		}
		if err := f.show(); err != nil {
			return err
		}
		if n == times {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// show writes the picture: on a terminal over the one before, and as much as
// fits; elsewhere below it.
func (f *frame) show() error {
	if !isTerminal(f.on) {
		_, err := fmt.Fprintf(f.on, "%s\n", f.String())
		return err
	}
	lines := strings.Split(strings.TrimRight(f.String(), "\n"), "\n")
	if _, height := terminalSize(f.on); height > 1 && len(lines) >= height {
		lines = append(lines[:height-2], "…")
	}
	const home, clearLine, clearBelow = "\x1b[H", "\x1b[K", "\x1b[J"
	_, err := fmt.Fprint(f.on, home+strings.Join(lines, clearLine+"\n")+clearLine+"\n"+clearBelow)
	return err
}
