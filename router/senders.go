package router

import (
	"cmp"
	"net/http"
	"net/netip"
	"slices"
	"sync"
)

// maxSenders is how many addresses are told apart; requests of further ones are
// counted together.
const maxSenders = 100

// Sender is where requests come from: the other end of their connections, which
// is the load balancer's if there is one.
type Sender struct {
	Addr     string `json:"addr"`
	Requests uint64 `json:"requests"`
}

// Senders are where POST requests came from since they are watched.
type Senders struct {
	Requests uint64   `json:"requests"`
	From     []Sender `json:"from"`             // the 100 first addresses at most, the busiest first
	Others   uint64   `json:"others,omitempty"` // requests of further ones
}

// senders counts requests by address.
type senders struct {
	mu     sync.Mutex
	counts map[netip.Addr]uint64
	others uint64
}

func (s *senders) note(req *http.Request) {
	addr := clientAddr(req, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.counts[addr]; !known && len(s.counts) >= maxSenders {
		s.others++
		return
	}
	s.counts[addr]++
}

// WatchSenders counts anew where requests come from; off ends that.
func (r *Router) WatchSenders(off bool) {
	if off {
		r.senders.Store(nil)
		return
	}
	r.senders.Store(&senders{counts: map[netip.Addr]uint64{}})
}

// Senders is where requests came from since WatchSenders, nothing if they are
// not watched.
func (r *Router) Senders() Senders {
	out := Senders{From: []Sender{}}
	s := r.senders.Load()
	if s == nil {
		return out
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Requests, out.Others = s.others, s.others
	for addr, n := range s.counts {
		text := "an unknown address"
		if addr.IsValid() {
			text = addr.String()
		}
		out.Requests += n
		out.From = append(out.From, Sender{text, n})
	}
	slices.SortFunc(out.From, func(a, b Sender) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Addr, b.Addr))
	})
	return out
}
