package node

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"forebay/node/drops"
	"forebay/router"
	"forebay/shipper"
	"forebay/shipper/clickhouse"
	"forebay/shipper/session"
	"forebay/wal"
)

// metrics are what /metrics shows. Histograms are fed as things happen, all
// else is read from the parts when it is asked for.
type metrics struct {
	node     *Node
	registry *prometheus.Registry
	reply    prometheus.Histogram
	sync     prometheus.Histogram
	group    prometheus.Histogram
	projects projectLabels
}

// latency buckets reach from a fast disk's fsync to a stalled one.
var latency = prometheus.ExponentialBuckets(0.0001, 2, 17) // 0.1 ms to 6.5 s

func newMetrics(n *Node) *metrics {
	m := &metrics{
		node: n, registry: prometheus.NewRegistry(),
		reply: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "forebay_reply_seconds", Help: "Time from a request's header to its reply.", Buckets: latency,
		}),
		sync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "forebay_wal_sync_seconds", Help: "Time that one sync of the log takes.", Buckets: latency,
		}),
		group: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "forebay_wal_group_requests", Help: "Requests that share one sync.", Buckets: prometheus.ExponentialBuckets(1, 2, 12),
		}),
	}
	return m
}

// register makes every metric carry the node's label and its log's identity,
// so that a fleet's can be told apart whatever scrapes them. It is called once,
// when the log is open.
func (m *metrics) register() {
	labels := prometheus.Labels{"node": m.node.cfg.Node.ID, "log_id": m.node.log.ID().String()}
	prometheus.WrapRegistererWith(labels, m.registry).MustRegister(m.reply, m.sync, m.group, collector{m},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// replied is router.Options.OnReply.
func (m *metrics) replied(took time.Duration) { m.reply.Observe(took.Seconds()) }

// committed is wal.Options.OnCommit.
func (m *metrics) committed(c wal.Commit) {
	m.group.Observe(float64(c.Entries))
	if c.Sync > 0 {
		m.sync.Observe(c.Sync.Seconds())
		m.node.syncs.add(time.Now(), c.Sync)
	}
}

// collector reads the parts at each scrape. It describes nothing beforehand:
// which labels there are depends on the configuration.
type collector struct{ m *metrics }

func (c collector) Describe(chan<- *prometheus.Desc) {}

func (c collector) Collect(out chan<- prometheus.Metric) {
	n := c.m.node
	e := emitter{out}
	e.log(n.log.Stats(), n.disk.state())
	tally := n.router.Tally()
	e.tally(tally)
	e.projects(c.m.projects.fold(tally.Projects))
	e.ledger(n.ledger)
	e.findings(n.router.Findings())
	e.drops(n.drops.memory.Totals())
	for _, cursor := range n.cursors.All() {
		e.cursor(cursor.Status())
	}
	if n.clickhouse != nil {
		e.unstored(n.clickhouse.Stats())
	}
	_, watched := n.audits.Watch()
	for _, w := range watched {
		e.watched(w)
	}
	ready := true
	for _, check := range n.health.all() {
		ready = ready && check.Ready
		e.gauge("forebay_check_ok", "1 while the check is in order.", truth(check.OK), "check", check.Name)
	}
	e.gauge("forebay_ready", "1 while traffic should come here, as /readyz says.", truth(ready))
	e.keys(n.keyring)
	e.gauge("forebay_state_unreadable_records", "Records of the state that cannot be read: dead letters, replays, audits, entries of the audit trail.", float64(len(n.cursors.Unreadable())))
	e.gauge("forebay_dedupe_window_seconds", "How far back repeats are recognised.", n.window.Stats().Effective.Seconds())
	e.gauge("forebay_dedupe_rebuilding", "1 while the window is filled from the log: repeats of older events are stored twice.", truth(n.window.Stats().Rebuilding))
	e.counter("forebay_dedupe_repeats_total", "Repeats that were stored twice since the start, while the window was filled.", float64(n.window.Stats().Repeats))
	d := n.descriptors()
	e.gauge("forebay_descriptors_open", "File descriptors in use.", float64(d.Open))
	e.gauge("forebay_descriptors_limit", "File descriptors that the process may have.", float64(d.Limit))
	e.gauge("forebay_connections", "Connections of the front door, the one that it waits for included.", float64(d.Connections))
	e.gauge("forebay_connections_limit", "Connections that the front door may have under the limit of descriptors.", float64(d.MaxConnections))
	output := n.logOutput()
	e.counter("forebay_log_lines_lost_total", "Lines of the node's own log that standard error did not take, since the start.", float64(output.Lost))
	e.gauge("forebay_log_lines_waiting", "Lines of the node's own log that wait for the reader of standard error.", float64(output.Waiting))
	e.gauge("forebay_info", "Always 1; the labels tell which program this is.", 1, "version", n.version)
}

// emitter turns figures into metrics.
type emitter struct{ out chan<- prometheus.Metric }

func (e emitter) emit(kind prometheus.ValueType, name, help string, v float64, labels []string) {
	var names, values []string
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	e.out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, v, values...)
}

func (e emitter) gauge(name, help string, v float64, labels ...string) {
	e.emit(prometheus.GaugeValue, name, help, v, labels)
}

func (e emitter) counter(name, help string, v float64, labels ...string) {
	e.emit(prometheus.CounterValue, name, help, v, labels)
}

func (e emitter) log(s wal.Stats, d diskState) {
	e.gauge("forebay_wal_first_seq", "Oldest event kept.", float64(s.FirstSeq))
	e.gauge("forebay_wal_durable_seq", "Newest event on disk.", float64(s.DurableSeq))
	e.gauge("forebay_wal_segments", "Files of the log.", float64(s.Segments))
	e.gauge("forebay_wal_bytes", "Bytes of the log.", float64(s.Bytes))
	e.gauge("forebay_wal_budget_bytes", "Bytes that the log may take at most.", float64(d.budget))
	e.gauge("forebay_wal_full", "1 while the log is full and new events are dropped.", truth(d.full))
	e.gauge("forebay_wal_full_in_seconds", "Forecast until the log is full; 0 while it is, +Inf while that is not in sight.", d.fullInMetric())
	e.gauge("forebay_wal_pending_bytes", "Bytes that wait for the disk.", float64(s.PendingBytes))
	e.gauge("forebay_wal_available", "1 while the log takes appends.", truth(s.Unavailable == nil))
	e.counter("forebay_wal_syncs_total", "Syncs since the start.", float64(s.Syncs))
	e.counter("forebay_wal_stored_bytes_total", "Bytes written since the start.", float64(s.StoredBytes))
	e.counter("forebay_wal_failures_total", "Times the log closed for appends since the start.", float64(s.Failures))
	e.counter("forebay_wal_lost_seqs_total", "Events found lost since the start, by damage, a missing file, or a number used before that the log does not have.", float64(s.LostSeqs))
}

func (e emitter) tally(t router.Tally) {
	e.counter("forebay_requests_received_total", "POST requests received.", float64(t.Requests.Received))
	e.counter("forebay_requests_decoded_total", "Requests decoded into events.", float64(t.Requests.Decoded))
	e.gauge("forebay_requests_in_flight", "Requests without an outcome yet.", float64(t.Requests.InFlight))
	for reason, n := range t.Requests.Dropped {
		e.counter("forebay_requests_dropped_total", "Requests dropped whole, by reason.", float64(n), "reason", reason)
	}
	e.counter("forebay_events_decoded_total", "Events of decoded requests.", float64(t.Events.Decoded))
	e.gauge("forebay_events_in_flight", "Events of decoded requests without an outcome yet.", float64(t.Events.InFlight))
	e.counter("forebay_events_accepted_total", "Events on disk.", float64(t.Events.Accepted))
	for reason, n := range t.Events.Dropped {
		e.counter("forebay_events_dropped_total", "Events dropped, by reason.", float64(n), "reason", reason)
	}
}

func (e emitter) ledger(l *ledger) {
	const name, help = "forebay_ledger_uncertain_total", "Requests, and dropped events, that crashes may have left out of the counts, at most."
	e.counter(name, help, float64(l.uncertain.Requests), "of", "requests")
	e.counter(name, help, float64(l.uncertain.Events), "of", "events")
}

func (e emitter) drops(totals map[drops.Kind]uint64) {
	foreign, by := map[string]uint64{}, map[drops.Kind]uint64{}
	for k, n := range totals {
		by[drops.Kind{Reason: k.Reason, Rule: k.Rule}] += n
		if k.LooksLike != "" {
			foreign[k.LooksLike] += n
		}
	}
	for k, n := range by {
		e.counter("forebay_drops_total", "Requests dropped whole and events dropped since the start, by reason and rule.", float64(n), "reason", k.Reason, "rule", k.Rule)
	}
	for like, n := range foreign {
		e.counter("forebay_foreign_requests_total", "Drops since the start that look like another kind of SDK's, by whose.", float64(n), "looks_like", like)
	}
}

func (e emitter) findings(all []router.Finding) {
	const name, help = "forebay_privacy_findings_total", "Events in which a privacy detector found something since the start, by what was done with them."
	for _, f := range all {
		e.counter(name, help, float64(f.Dropped), "detector", f.Detector, "action", "drop")
		e.counter(name, help, float64(f.Reported), "detector", f.Detector, "action", "report")
	}
}

func (e emitter) keys(r *keyring) {
	s := r.status()
	e.gauge("forebay_keys", "Keys in memory, revoked and expired ones included.", float64(s.Count))
	e.gauge("forebay_keys_age_seconds", "Time since the source of keys last confirmed them; 0: it never did.", s.AgeSeconds)
	e.gauge("forebay_keys_known", "1 once the source of keys or the cache has said what they are; until then every request is dropped.", truth(s.Known))
	e.gauge("forebay_keys_in_force", "1 while any key is neither revoked nor expired.", truth(r.dir.InForce(time.Now())))
	e.gauge("forebay_keys_denied", "Keys that an operator has denied on this node.", float64(s.Denied))
	doubted := 0
	if s.Doubt != nil {
		doubted = s.Doubt.Lost
	}
	e.gauge("forebay_keys_doubted", "Keys that stay in force although their source no longer names them, since it has lost most at once.", float64(doubted))
}

func (e emitter) cursor(s shipper.Status) {
	e.gauge("forebay_cursor_next_seq", "First event not yet delivered.", float64(s.NextSeq), "cursor", s.Name)
	e.gauge("forebay_cursor_epoch", "Epoch of the cursor.", float64(s.Epoch), "cursor", s.Name)
	e.gauge("forebay_cursor_lag_events", "Events not yet delivered.", float64(s.LagEvents), "cursor", s.Name)
	e.gauge("forebay_cursor_lag_seconds", "Age of the oldest event not yet delivered, parked sessions left out.", s.LagSeconds, "cursor", s.Name)
	e.gauge("forebay_cursor_rate", "Events delivered a second, over the last minute.", s.RatePerSecond, "cursor", s.Name)
	if s.Capacity > 0 {
		e.gauge("forebay_cursor_capacity", "Events delivered a second while it was last behind; absent until it was.", s.Capacity, "cursor", s.Name)
	}
	e.gauge("forebay_cursor_dead_letters", "Events set aside.", float64(s.Dead), "cursor", s.Name)
	a := s.Account
	e.gauge("forebay_cursor_accepted_events", "Events that the log has taken, which the cursor has to account for.", float64(a.Accepted), "cursor", s.Name)
	for fate, n := range map[string]uint64{
		"shipped": a.Shipped, "pending": a.Pending, "dead": a.Dead, "discarded": a.Discarded, "expired": a.Expired, "lost": a.Lost, "skipped": a.Skipped,
	} {
		e.gauge("forebay_cursor_events", "Events by what became of them at the cursor; together they are those accepted.", float64(n), "cursor", s.Name, "fate", fate)
	}
	var p shipper.Parked
	if s.Parked != nil {
		p = *s.Parked
	}
	e.gauge("forebay_cursor_parked_sessions", "Sessions that fail while others are delivered.", float64(p.Sessions), "cursor", s.Name)
	e.gauge("forebay_cursor_parked_events", "Events of parked sessions that wait.", float64(p.Events), "cursor", s.Name)
	e.gauge("forebay_cursor_parked_seconds", "How long the session has failed that has done so for longest.", since(p.Since), "cursor", s.Name)
	if st, ok := s.Sink.(session.Stats); ok {
		const what = "that a request to the Session Manager holds at most: as configured, or what it has been found to take."
		e.gauge("forebay_session_request_events", "Events "+what, float64(st.RequestEvents))
		e.gauge("forebay_session_request_bytes", "Bytes of events "+what, float64(st.RequestBytes))
	}
	if st, ok := s.Sink.(clickhouse.Stats); ok {
		e.gauge("forebay_clickhouse_insert_rows", "Rows that one insert may have, since more were refused for their size; 0: no such limit.", float64(st.InsertRows))
		e.gauge("forebay_clickhouse_read_rows", "Rows that are looked for at once, likewise.", float64(st.ReadRows))
	}
	for _, state := range []string{shipper.Running, shipper.Paused, shipper.Failing} {
		e.gauge("forebay_cursor_state", "1 for the state that the cursor is in.", truth(s.State == state), "cursor", s.Name, "state", state)
	}
}

func (e emitter) watched(w shipper.Watched) {
	proven := 0.0
	if !w.ProvenAt.IsZero() {
		proven = float64(w.ProvenAt.UnixMilli()) / 1000
	}
	e.gauge("forebay_audit_proven_seq", "All events up to here that the watch has seen are at the destination, or counted as what they are instead.", float64(w.ProvenSeq), "cursor", w.Cursor)
	e.gauge("forebay_audit_proven_timestamp_seconds", "When the destination was last asked, in Unix time; 0: not yet.", proven, "cursor", w.Cursor)
	e.gauge("forebay_audit_holes", "Events counted as delivered that are not at the destination.", float64(w.Missing), "cursor", w.Cursor)
	e.gauge("forebay_audit_duplicates", "Events that are at the destination more than once, and have not merged yet.", float64(w.Doubles), "cursor", w.Cursor)
}

// since is the age of a time in seconds, 0 if there is none.
func since(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(time.Since(t).Seconds(), 0)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
