package main

import (
	"context"
	"fmt"
	"strings"

	"forebay/node/admin"
	"forebay/node/config"
	"forebay/shipper"
)

// unreachable is the state of a node that does not answer.
const unreachable = "NO ANSWER"

// statusOfNodes prints nodes side by side. It fails if one does not answer.
func (g *globals) statusOfNodes(ctx context.Context, addrs []string) error {
	rows, err := g.askNodes(ctx, addrs)
	if err != nil {
		return err
	}
	silent := []string{}
	for _, r := range rows {
		if r.Status == nil {
			silent = append(silent, r.Addr)
		}
	}
	if g.json {
		err = g.printJSON(rows)
	} else {
		err = g.showNodes(rows)
	}
	if err == nil && len(silent) > 0 {
		err = fmt.Errorf("%d of %d nodes do not answer: %s", len(silent), len(rows), strings.Join(silent, ", "))
	}
	return err
}

func (g *globals) askNodes(ctx context.Context, addrs []string) ([]admin.NodeStatus, error) {
	if len(addrs) > config.MaxNodes {
		return nil, usageError{fmt.Errorf("--nodes takes at most %d addresses", config.MaxNodes)}
	}
	token, err := g.token(g.tokenFile)
	if err != nil {
		return nil, err
	}
	return admin.AskNodes(ctx, addrs, token), nil
}

func (g *globals) showNodes(nodes []admin.NodeStatus) error {
	rows := [][]string{{"ADDRESS", "NODE", "LOG", "ACCEPTS", "SEQ", "BEHIND", "OLDEST", "DEAD", "DISK", "VERSION", "NOT IN ORDER"}}
	for _, n := range nodes {
		if n.Status == nil {
			rows = append(rows, []string{n.Addr, "-", "-", unreachable, "-", "-", "-", "-", "-", "-", n.Error})
			continue
		}
		rows = append(rows, nodeRow(n.Addr, n.Status))
	}
	return g.table(rows...)
}

// nodeRow is a node that answered: of its cursors, the one that is furthest
// behind.
func nodeRow(addr string, s *admin.Status) []string {
	accepts, disk := "yes", "-"
	if !s.Accepting {
		accepts = "NO"
	}
	if s.Log.BudgetBytes > 0 {
		disk = fmt.Sprintf("%.0f %%", 100*float64(s.Log.Bytes)/float64(s.Log.BudgetBytes))
	}
	var worst shipper.Status
	dead := 0
	for _, c := range s.Cursors {
		dead += c.Dead
		if c.LagEvents >= worst.LagEvents {
			worst = c
		}
	}
	behind := "-"
	if worst.Name != "" {
		behind = fmt.Sprintf("%d (%s)", worst.LagEvents, worst.Name)
	}
	wrong := []string{}
	for _, c := range s.Checks {
		if !c.OK {
			wrong = append(wrong, c.Name+": "+c.Reason)
		}
	}
	return []string{
		addr, s.NodeID, short(s.LogID), accepts, fmt.Sprint(s.Log.DurableSeq), behind, seconds(worst.LagSeconds), fmt.Sprint(dead),
		disk, s.Version, strings.Join(wrong, "; "),
	}
}

// short is enough of an identity to tell logs apart.
func short(id string) string { return id[:min(len(id), 8)] }
