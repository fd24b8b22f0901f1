package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	columnGap = 2
	// minColumn is what a column is cut to at the least, and minText the width
	// from which on a last column may be broken into lines beside the others.
	minColumn = 8
	minText   = 24
	// belowIndent stands before the last column's text where that goes below.
	belowIndent = "    "
)

// table writes rows in columns; a first row in capitals is the heading. On a
// terminal it is as wide as that at the most.
func (g *globals) table(rows ...[]string) error {
	columns, _ := terminalSize(g.out)
	color := colored(g.out)
	for _, line := range layOut(rows, columns, color) {
		if _, err := fmt.Fprintln(g.out, line); err != nil {
			return err
		}
	}
	return nil
}

// layOut makes the lines of a table. A width of 0 is as wide as it gets.
// Otherwise the last column, which holds texts, is broken into lines; where
// there is no room beside the others it goes below its row, and the others are
// cut where even they do not fit.
func layOut(rows [][]string, width int, color bool) (lines []string) {
	widths := columnWidths(rows)
	last := len(widths) - 1
	if last < 0 {
		return nil
	}
	text, below := 0, false
	if all := sum(widths) + columnGap*last; width > 0 && all > width {
		text = width - (all - widths[last])
		if below = text < min(minText, widths[last]); below {
			text = width - len(belowIndent)
			shrink(widths[:last], width-columnGap*(last-1))
		}
		text = max(text, 1)
	}
	for at, r := range rows {
		heading := at == 0 && strings.ToUpper(strings.Join(r, "")) == strings.Join(r, "")
		cells, parts := r, []string(nil)
		if len(r) == len(widths) && text > 0 {
			parts = wrap(r[last], text)
			if cells = r[:last]; !below && len(parts) > 0 {
				cells = append(cells[:last:last], parts[0])
				parts = parts[1:]
			}
		}
		if below && heading {
			parts = nil // it is plain what stands below
		}
		lines = append(lines, row(cells, widths, color, heading))
		indent := belowIndent
		if !below {
			indent = strings.Repeat(" ", max(0, width-text))
		}
		for _, p := range parts {
			lines = append(lines, indent+p)
		}
	}
	return lines
}

// columnWidths makes the cells plain and measures them.
func columnWidths(rows [][]string) (widths []int) {
	for _, r := range rows {
		for i := range r {
			r[i] = plain(r[i])
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(r[i]))
		}
	}
	return widths
}

func sum(widths []int) (all int) {
	for _, w := range widths {
		all += w
	}
	return all
}

// shrink takes from the widest columns until they have no more than room, or
// all are as narrow as may be.
func shrink(widths []int, room int) {
	for sum(widths) > room {
		widest := 0
		for i, w := range widths {
			if w > widths[widest] {
				widest = i
			}
		}
		if len(widths) == 0 || widths[widest] <= minColumn {
			return
		}
		widths[widest]--
	}
}

// row is one line, each cell padded to its column and cut to it.
func row(cells []string, widths []int, color, heading bool) string {
	var line strings.Builder
	for i, cell := range cells {
		size := utf8.RuneCountInString(cell)
		if size > widths[i] {
			cell, size = string([]rune(cell)[:widths[i]-1])+"…", widths[i]
		}
		if code := cellColor(cell, heading); color && code != "" {
			cell = "\x1b[" + code + "m" + cell + "\x1b[0m"
		}
		line.WriteString(cell)
		if i < len(cells)-1 {
			line.WriteString(strings.Repeat(" ", columnGap+widths[i]-size))
		}
	}
	return strings.TrimRight(line.String(), " ")
}

// wrap breaks a text into lines of width characters, between words where it can.
func wrap(text string, width int) (lines []string) {
	line := []rune(nil)
	for _, word := range strings.Fields(text) {
		w := []rune(word)
		if len(line) > 0 && len(line)+1+len(w) <= width {
			line = append(append(line, ' '), w...)
			continue
		}
		if len(line) > 0 {
			lines = append(lines, string(line))
		}
		for len(w) > width {
			lines, w = append(lines, string(w[:width])), w[width:]
		}
		line = w
	}
	if len(line) > 0 {
		lines = append(lines, string(line))
	}
	return lines
}
