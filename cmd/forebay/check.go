package main

import (
	"errors"
	"fmt"
	"strings"

	"forebay/node/admin"
)

// Exit codes of status --check, which are those of Nagios' plugins.
const (
	exitWarning  = 1
	exitCritical = 2
)

// checkError ends the program with a code of its own. What there is to say has
// been printed.
type checkError struct {
	error
	code int
}

// verdict is a node's state in one line, and the code that stands for it: 0 if
// all is in order, exitWarning if something is not, exitCritical if traffic
// should go elsewhere.
func verdict(s admin.Status) (line string, code int) {
	var wrong []string
	for _, c := range s.Checks {
		if !c.OK {
			wrong = append(wrong, c.Name+": "+plain(c.Reason))
		}
	}
	for _, c := range s.Cursors {
		if c.Dead > 0 {
			wrong = append(wrong, fmt.Sprintf("%s: %s", c.Name, count(c.Dead, "dead letter")))
		}
	}
	name := s.NodeID + " "
	switch {
	case !s.Accepting:
		return "CRITICAL: " + name + strings.Join(wrong, "; "), exitCritical
	case len(wrong) > 0:
		return "WARNING: " + name + strings.Join(wrong, "; "), exitWarning
	}
	return "OK: " + name + "is in order", 0
}

// check prints the verdicts on nodes, a line each, and returns an error with
// the worst one's code. A node that does not answer is critical.
func (g *globals) check(nodes []admin.NodeStatus) error {
	worst := 0
	for _, n := range nodes {
		line, code := "CRITICAL: "+n.Addr+" "+n.Error, exitCritical
		if n.Status != nil {
			line, code = verdict(*n.Status)
		}
		worst = max(worst, code)
		if g.json {
			continue
		}
		if _, err := fmt.Fprintln(g.out, line); err != nil {
			return err
		}
	}
	if g.json {
		if err := g.printJSON(nodes); err != nil {
			return err
		}
	}
	if worst == 0 {
		return nil
	}
	return checkError{errors.New("not in order"), worst}
}
