package config

import (
	"slices"
	"strings"
)

// parent is the path without its last step, empty at the top.
func parent(path string) string {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i]
	}
	return ""
}

// step is the last step of a path.
func step(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// nearest is the known path, of a field or a group, that is most like path: by spelling, or by its last
// step when it was put in the wrong group.
func (l *loader) nearest(path string) string {
	const wrongGroup = 2 // as much as two letters
	best, least := "", -1
	for _, f := range l.fields {
		for at := f.path; at != ""; at = parent(at) {
			d := min(distance(path, at), distance(step(path), step(at))+wrongGroup)
			if least < 0 || d < least {
				best, least = at, d
			}
		}
	}
	return best
}

// nearestEnv is the variable of the field that is most like path, which has a dot for each underscore.
func (l *loader) nearestEnv(path string) string {
	best := slices.MinFunc(l.fields, func(a, b field) int {
		return distance(path, dotted(a.path)) - distance(path, dotted(b.path))
	})
	return best.env()
}

func dotted(path string) string { return strings.ReplaceAll(path, "_", ".") }

// distance is the number of letters to insert, delete, change or swap with their neighbour to get from
// a to b. Long texts are cut: they are not a slip of the pen.
func distance(a, b string) int {
	const most = 100
	a, b = a[:min(len(a), most)], b[:min(len(b), most)]
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
