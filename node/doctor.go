package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"forebay/node/admin"
	"forebay/node/config"
	"forebay/router"
)

// The states of a finding.
const (
	FindingOK   = "ok"
	FindingWarn = "warn" // works, but look at it
	FindingFail = "fail" // does not work, or will not
)

// Finding is what an examination says of one thing.
type Finding struct {
	Check  string `json:"check"` // what was looked at
	State  string `json:"state"`
	Text   string `json:"text"`             // what was seen
	Remedy string `json:"remedy,omitempty"` // what to do about it; "" if it is ok
}

func fine(check, format string, args ...any) Finding {
	return Finding{Check: check, State: FindingOK, Text: fmt.Sprintf(format, args...)}
}

func doubtful(check, remedy, format string, args ...any) Finding {
	return Finding{Check: check, State: FindingWarn, Text: fmt.Sprintf(format, args...), Remedy: remedy}
}

func broken(check, remedy, format string, args ...any) Finding {
	return Finding{Check: check, State: FindingFail, Text: fmt.Sprintf(format, args...), Remedy: remedy}
}

// examineTimeout bounds each question to something outside.
const examineTimeout = 10 * time.Second

// Examine looks at everything that a node of this configuration stands on,
// whether the node runs or not, and in the order in which it would be missed.
// It leaves nothing behind: a temporary file in data_dir is removed, nothing
// is stored at a destination, no event is sent.
func Examine(ctx context.Context, cfg config.Config, o Options) []Finding {
	d := &doctor{cfg: cfg, built: o.Built, version: o.Version}
	running, findings := d.dataDir()
	d.running = running
	groups := []func(context.Context) []Finding{d.clock, d.keys}
	switch {
	case running:
		groups = append([]func(context.Context) []Finding{d.runningNode}, groups...)
	case d.initialised():
		groups = append([]func(context.Context) []Finding{d.stoppedNode, d.freePorts, d.descriptors}, groups...)
	default:
		groups = append([]func(context.Context) []Finding{d.freePorts, d.descriptors}, groups...)
	}
	groups = append(groups, d.certificate, d.clickhouse, d.sessionManager, d.archive)
	outcomes := make([][]Finding, len(groups))
	var asking sync.WaitGroup
	for i, group := range groups {
		asking.Go(func() { outcomes[i] = group(ctx) })
	}
	asking.Wait()
	for _, more := range outcomes {
		findings = append(findings, more...)
	}
	return findings
}

// doctor makes one examination.
type doctor struct {
	cfg     config.Config
	built   time.Time
	version string
	running bool // a process holds the data directory
}

// status is the running node's; an error if none runs.
func (d *doctor) status(ctx context.Context) (s admin.Status, err error) {
	if !d.running {
		return s, errors.New("the node does not run")
	}
	token, err := config.ReadSecret("admin.token_file", d.cfg.Admin.TokenFile)
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, examineTimeout)
	defer cancel()
	return admin.NewClient(d.cfg.Admin.Listen, token).Status(ctx)
}

// runningNode asks the node itself: its own checks see what only it can, such
// as jumps of the clock, slow syncs and cursors that stand.
func (d *doctor) runningNode(ctx context.Context) []Finding {
	const check = "running node"
	token, err := config.ReadSecret("admin.token_file", d.cfg.Admin.TokenFile)
	if err != nil {
		return []Finding{broken(check, "", "%v", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, examineTimeout)
	defer cancel()
	client := admin.NewClient(d.cfg.Admin.Listen, token)
	s, err := client.Status(ctx)
	if err != nil {
		return []Finding{broken(check, "is admin.listen the one that the node was started with? If the process hangs, restart it: nothing accepted is lost",
			"a process holds the data directory, and its admin API at %s does not answer: %v", d.cfg.Admin.Listen, err)}
	}
	findings := []Finding{fine(check, "version %s answers at %s, seq %d to %d", s.Version, d.cfg.Admin.Listen, s.Log.FirstSeq, s.Log.DurableSeq)}
	if s.NodeID != d.cfg.Node.ID {
		findings = append(findings, doubtful(check, "restart the node, or name its configuration", "it calls itself %s, the configuration says %s", s.NodeID, d.cfg.Node.ID))
	}
	for _, c := range s.Checks {
		name := "node: " + c.Name
		switch {
		case c.OK:
			findings = append(findings, fine(name, "in order since %s", c.Since.Format(time.RFC3339)))
		case s.Accepting:
			findings = append(findings, doubtful(name, c.Remedy, "%s, since %s", c.Reason, c.Since.Format(time.RFC3339)))
		default:
			findings = append(findings, broken(name, c.Remedy, "%s, since %s", c.Reason, c.Since.Format(time.RFC3339)))
		}
	}
	findings = append(findings, foreignSenders(ctx, client)...)
	if s.Descriptors != nil {
		findings = append(findings, judgeDescriptors(s.Descriptors.Limit, s.Descriptors.MaxConnections))
	}
	return append(findings, d.door(ctx))
}

// foreignSenders tells of requests that are no events of this node's form: their
// senders hear nothing of it.
func foreignSenders(ctx context.Context, client *admin.Client) (findings []Finding) {
	const check = "senders"
	g, err := client.TopDrops(ctx, admin.DropFilter{Since: time.Now().Add(-24 * time.Hour)}, []string{"looks_like", "project", "reason"}, 1000)
	if err != nil {
		return []Finding{broken(check, "run it again; if it stays so, look at the node's own log", "the node does not tell what it dropped: %v", err)}
	}
	for _, group := range g.Groups {
		like := group.By["looks_like"]
		if like == "" {
			continue
		}
		from := "without a known key"
		if group.By["project"] != "" {
			from = fmt.Sprintf("with a key of project %q", group.By["project"])
		}
		what := fmt.Sprintf("drops in the last 24 h are %s", router.SDKName(like))
		if group.By["reason"] == router.ReasonUnknownPath {
			what = fmt.Sprintf("POSTs in the last 24 h to paths that this node does not have are %s", router.SDKName(like))
		}
		if like == router.LooksLikeOther {
			findings = append(findings, fine(check, "%d %s, %s, the last %s ago", group.Drops, what, from, time.Since(group.Last).Round(time.Second)))
			continue
		}
		findings = append(findings, doubtful(check, "nothing of them is stored: have the sender post to /v1/events or /v1/batch in the form of WIRE.md; forebay drops tail shows each",
			"%d %s, %s, the last %s ago", group.Drops, what, from, time.Since(group.Last).Round(time.Second)))
	}
	if len(findings) == 0 {
		findings = append(findings, fine(check, "nothing came in the last 24 h that is of another form than this node's"))
	}
	return findings
}

// stoppedNode opens the log and the state for reading.
func (d *doctor) stoppedNode(context.Context) []Finding {
	const check = "log and state"
	n, err := OpenStopped(d.cfg, d.version)
	if errors.Is(err, ErrRunning) {
		return []Finding{doubtful(check, "run it again", "the node was started meanwhile")}
	}
	if err != nil {
		return []Finding{broken(check, "put back what is missing or damaged from a backup, log and state of one moment; without state cursors start at the oldest event", "%v", err)}
	}
	s := n.Status()
	newest := n.node.log.Stats().NewestTime
	findings := []Finding{fine(check, "log %s, seq %d to %d in %d files", s.LogID, s.Log.FirstSeq, s.Log.DurableSeq, s.Log.Segments)}
	if doubt := clockDoubt(time.Now(), time.Time{}, newest); doubt != "" {
		findings = append(findings, doubtfulClock(doubt))
	}
	if !s.Ledger.Balanced {
		findings = append(findings, doubtful("ledger", "this is a bug in forebay: keep the data directory and report it", "the saved ledger does not balance"))
	}
	if err := n.Close(); err != nil {
		findings = append(findings, broken(check, "check the disk and the kernel's messages (dmesg)", "%v", err))
	}
	return findings
}
