package session_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/receiver"
	"forebay/shipper/shippertest"
	"forebay/shipper/shippertest/proxy"
)

// TestConforms runs the suite of all sinks over the reference receiver, which
// also checks the order, with a network between them that fails.
func TestConforms(t *testing.T) {
	shippertest.Conform(t, func(t *testing.T) shippertest.Subject {
		var mu sync.Mutex
		var arrived []uint64
		var cured atomic.Bool
		var limit atomic.Pointer[receiver.Fault]
		r, server := newReceiver(t, receiver.Options{
			Taken: func(d receiver.Delivery) {
				mu.Lock()
				defer mu.Unlock()
				arrived = append(arrived, d.Seqs...)
			},
			Hook: func(d receiver.Delivery) receiver.Fault {
				for _, e := range d.Events {
					if bytes.Contains(e, poison) && !cured.Load() {
						return receiver.Fault{Status: 422}
					}
				}
				if fault := limit.Load(); fault != nil && len(d.Events) > 2 {
					return *fault
				}
				return receiver.Fault{}
			},
		})
		network := proxy.Start(t, strings.TrimPrefix(server.URL, "http://"))
		return shippertest.Subject{
			Sink: func() shipper.Sink {
				return newSink(t, session.Options{URL: "http://" + network.Addr(), MaxHeldBytes: 1 << 20})
			},
			Arrived: func() []uint64 {
				mu.Lock()
				defer mu.Unlock()
				return slices.Clone(arrived)
			},
			Empty: func() {
				mu.Lock()
				defer mu.Unlock()
				arrived = nil
			},
			Break:  network.Down,
			Hang:   network.Pause,
			Heal:   func() { network.Up(); network.Resume() },
			Poison: `{"poison":true}`,
			Cure:   func() { cured.Store(true) },
			Limits: map[string]func(){
				"413":   func() { limit.Store(&receiver.Fault{Status: 413}) },
				"400":   func() { limit.Store(&receiver.Fault{Status: 400}) },
				"reset": func() { limit.Store(&receiver.Fault{Reset: true}) },
				"taken": func() { limit.Store(&receiver.Fault{Reset: true, After: true}) },
			},
			Check: func() error {
				if report := r.Report(); !report.InOrder() || report.Stale > 0 {
					return fmt.Errorf("%+v", report)
				}
				return nil
			},
		}
	})
}
