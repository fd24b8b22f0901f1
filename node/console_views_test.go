package node_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"forebay/node/nodetest"
	"forebay/shipper"
	"forebay/shipper/session/receiver"
)

// consoleViews: a link leads to an event and to a cursor; events are followed;
// a replay is begun as it was shown; the node is taken out of service and back;
// the configuration is read anew; letters of one reason share a card.
func consoleViews(t *testing.T, chromium context.Context) {
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	r, _ := sessions(t, &c)
	n := nodetest.Run(t, c)
	n.Post(key, nodetest.Event("a", `,"idempotencyKey":"k 1/2"`), nodetest.Event("b", ""))
	settled(t, n)
	p := open(t, chromium, n.AdminURL+"/#trace/key/k%201%2F2/shop")
	p.says("#trace-result", "shipped")
	p.says("#trace-result", "of this log")
	p.says("#verdict", "Everything is in order.")
	p.until(`document.querySelector('#checks [data-check=drain]').textContent.includes("In service")`)
	js[bool](p, `(location.hash = "#cursors/archive", true)`)
	p.until(`document.querySelector('[data-cursor=archive] details').open && document.activeElement.closest('[data-cursor=archive]')`)
	js[bool](p, `(location.hash = "#hour/15m", true)`)
	p.until(`document.getElementById("hour-range").value === "15m"`)

	p.click("#tail-go")
	p.says("#tail-note", "Waiting for events")
	nodetest.Eventually(t, patience, func() bool {
		n.Post(key, nodetest.Event("tailed", ""))
		return strings.Contains(p.text("#tail-list"), "tailed")
	}, "an event is shown as it comes")
	p.click("#tail-go")
	p.says("#tail-note", "Stopped.")

	settled(t, n)
	last := n.Status().Log.DurableSeq
	p.click("#replay-start")
	js[bool](p, `(document.querySelector("dialog .parts select").value = "session", true)`)
	p.fill("dialog .parts label:nth-child(5) input", "2") // up to this seq
	p.click("dialog .buttons button:not([value=go]):not(:first-child)")
	p.says("dialog .preview", "2 events will be delivered once more")
	p.sign("ann", "once more")
	p.says("#notice", "has begun")
	var replays []shipper.Replay
	nodetest.Eventually(t, patience, func() bool {
		var err error
		replays, err = n.Admin.Replays(ctx)
		return err == nil && len(replays) == 1 && replays[0].State == shipper.Done
	}, "the replay has ended: %+v", &replays)
	if got := replays[0]; got.First != 1 || got.Last != 2 || got.Delivered != 2 || got.By != "ann" || last < 2 {
		t.Errorf("the replay is %+v", got)
	}
	p.says("#replay-list", "done")

	p.click("#key-table summary")
	p.says("#keys-list", "active")
	p.click("#keys-list button")
	p.sign("ann", "it leaked")
	p.says("#keys-list", "by ann")
	p.click("#keys-list button")
	p.sign("ann", "")
	p.says("#keys-list", "active")

	p.click("#drain")
	p.sign("ann", "new kernel")
	p.says("#verdict", "Traffic should go elsewhere; 1 check not in order.")
	p.says("#drain", "Back into service")
	p.click("#drain")
	p.sign("ann", "")
	p.says("#verdict", "Everything is in order.")

	r.SetFaults(receiver.Rule{Rate: 1, Fault: receiver.Fault{Status: http.StatusUnprocessableEntity}})
	n.Post(key, nodetest.Event("x", ""))
	n.Post(key, nodetest.Event("y", ""))
	cursorIs(t, n, "session", "has two letters", func(s shipper.Status) bool { return s.Dead == 2 })
	p.says("#dead-list", "1 more letter has the same reason")
	p.until(`document.querySelectorAll("#dead-list article").length === 1`)
	p.click("#dead-list .alike button")
	p.until(`document.querySelectorAll("#dead-list article").length === 2`)
	p.labelled()
	p.content()
}

// consoleFleet: nodes stand side by side, and one that does not answer says why.
func consoleFleet(t *testing.T, chromium context.Context) {
	other := nodetest.Config(t)
	other.Node.ID = "edge-<b>2</b>"
	nodetest.Key(t, other)
	second := nodetest.Run(t, other)
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	gone := nodetest.FreeAddr(t)
	c.Admin.Nodes = []string{gone, second.AdminURL[len("http://"):]}
	p := open(t, chromium, nodetest.Run(t, c).AdminURL)
	p.says("#fleet-list", "edge-<b>2</b>")
	p.says("#fleet-list", gone)
	p.says("#fleet-list", "no answer")
	p.says("#verdict", "Accepting events; 1 of 2 other nodes not in order.")
	p.until(`!document.getElementById("fleet").hidden && document.querySelectorAll("#fleet-list tbody tr").length === 3`)
	p.content()
}
