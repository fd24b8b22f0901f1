package node_test

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"forebay/node/admin"
	"forebay/node/nodetest"
	"forebay/router"
)

// errSeen ends a stream in a test.
var errSeen = errors.New("seen")

// Operators are told of a drop while it happens, and can look back.
func TestDropsAreShown(t *testing.T) {
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	patience, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()

	res, err := http.Get(n.AdminURL + "/admin/v1/drops/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type: %s", got)
	}
	n.Post(key, nodetest.Event("s", `,"metadata":{"email":"x"}`))
	n.Post("fbk_0123456789abcdef", nodetest.Event("s", ""))
	lines := bufio.NewScanner(res.Body)
	for _, want := range []string{"event: drop", `"reason":"privacy"`, "", "event: drop", `"reason":"unauthorized"`} {
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Fatalf("line %q, want %q: %v", lines.Text(), want, lines.Err())
		}
	}

	var privacy []router.Drop
	err = n.Admin.Drops(ctx, admin.DropFilter{Reason: "privacy"}, func(d router.Drop) error {
		privacy = append(privacy, d)
		return nil
	})
	if err != nil || len(privacy) != 1 || privacy[0].Project != "shop" || privacy[0].Field != "metadata.email" || privacy[0].Rule != "denied_key" || privacy[0].KeyID == "" {
		t.Errorf("drops for privacy: %+v, %v", privacy, err)
	}
	for _, f := range []admin.DropFilter{{Project: "other"}, {Reason: "malformed"}, {Since: time.Now().Add(time.Hour)}} {
		if err := n.Admin.Drops(ctx, f, func(d router.Drop) error { t.Errorf("%+v gave %+v", f, d); return nil }); err != nil {
			t.Error(err)
		}
	}

	seen := make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		first := true
		seen <- n.Admin.WatchDrops(patience, admin.DropFilter{Project: "shop"}, 0, func(d router.Drop) error {
			if first {
				close(begun)
				first = false
				return nil
			}
			if d.Project != "shop" {
				return errors.New("a drop of another project")
			}
			return errSeen
		}, func(admin.Missed) error { return nil })
	}()
	for open := false; !open; { // until the watcher is there
		n.Post(key, `{}`)
		select {
		case <-begun:
			open = true
		default:
		}
	}
	n.Post("fbk_0123456789abcdef", nodetest.Event("s", ""))
	n.Post(key, `{}`)
	if err := <-seen; !errors.Is(err, errSeen) {
		t.Errorf("the stream ended with %v", err)
	}
}

// No more streams than there are places; a stop ends them all at once.
func TestStreamsAreBoundedAndEndAtAStop(t *testing.T) {
	const places = 32
	c := nodetest.Config(t)
	nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	var open []*http.Response
	for range places {
		res, err := http.Get(n.AdminURL + "/admin/v1/drops/stream")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("stream %d: %s", len(open)+1, res.Status)
		}
		open = append(open, res)
	}
	watch := func() error {
		return n.Admin.WatchDrops(ctx, admin.DropFilter{}, 0, func(router.Drop) error { return nil }, func(admin.Missed) error { return nil })
	}
	if err := watch(); err == nil || !strings.Contains(err.Error(), "32 streams are open") {
		t.Errorf("stream %d: %v", places+1, err)
	}
	if err := open[0].Body.Close(); err != nil { // its place is free again
		t.Fatal(err)
	}
	nodetest.Eventually(t, time.Minute, func() bool {
		res, err := http.Get(n.AdminURL + "/admin/v1/drops/stream")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	}, "a place is free")
	n.Stop()
	for _, res := range open[1:] {
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
		}
		if err := lines.Err(); err != nil {
			t.Errorf("a stream was cut off instead of ended: %v", err)
		}
	}
}
