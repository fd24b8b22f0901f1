// Package sample makes events as a customer's web shop would send them, for
// the demo, the load tool and tests of the whole node. Each event carries the
// idempotency key session-number, numbers counting from 1 within a session,
// so that whoever receives the events can tell order, holes and repeats from
// them alone (see [Check]).
package sample

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Generator makes the events of a number of sessions. Each of its sessions
// may be used by one goroutine at a time, different ones by different ones.
type Generator struct {
	sessions []session
}

// session is one visitor on the way through the shop.
type session struct {
	id     string
	rand   *rand.Rand
	number int
	route  string
}

// Batch is the body of one POST to the node, and what is in it.
type Batch struct {
	Session string
	Keys    []string // idempotency keys, in order
	Body    []byte   // JSON for POST /v1/events
}

// New returns a generator of so many sessions. The seed decides their
// identifiers and all that is random in the events but the times.
func New(seed uint64, sessions int) *Generator {
	g := &Generator{sessions: make([]session, sessions)}
	for i := range g.sessions {
		g.sessions[i] = session{
			id:    fmt.Sprintf("s%08x-%d", uint32(seed^seed>>32), i+1),
			rand:  rand.New(rand.NewPCG(seed, uint64(i))),
			route: "/",
		}
	}
	return g
}

// Sessions is how many sessions there are.
func (g *Generator) Sessions() int { return len(g.sessions) }

// Batch makes the next n events of the session with index i.
func (g *Generator) Batch(i, n int) Batch {
	s := &g.sessions[i]
	b := Batch{Session: s.id, Body: make([]byte, 0, 400*n+64)}
	b.Body = append(b.Body, `{"sdk_version":"1.4.2","app_id":"shop","events":[`...)
	for j := range n {
		if j > 0 {
			b.Body = append(b.Body, ',')
		}
		s.number++
		key := s.id + "-" + strconv.Itoa(s.number)
		b.Keys = append(b.Keys, key)
		b.Body = s.event(b.Body, key)
	}
	b.Body = append(b.Body, `]}`...)
	return b
}

// routes are the pages of the shop.
var routes = [...]string{"/", "/search", "/product/oak-table", "/product/desk-lamp", "/cart", "/checkout", "/thanks"}

// kind is one type of event: how often it occurs, its target and how its
// metadata is made.
type kind struct {
	name   string
	weight int
	target string
	meta   func(*rand.Rand) string
}

var kinds = [...]kind{
	{"click", 30, `{"type":"element","id":"buy","selector":"#buy","tagName":"button"}`, func(r *rand.Rand) string {
		return fmt.Sprintf(`{"clientX":%d,"clientY":%d,"button":0}`, r.IntN(1280), r.IntN(720))
	}},
	{"scroll", 25, `{"type":"window"}`, func(r *rand.Rand) string {
		return fmt.Sprintf(`{"scrollY":%d,"depth":%.2f}`, r.IntN(4000), r.Float64())
	}},
	{"input", 10, `{"type":"element","id":"q","selector":"#q","tagName":"input"}`, func(r *rand.Rand) string {
		return fmt.Sprintf(`{"length":%d}`, r.IntN(40))
	}},
	{"input_focus", 4, `{"type":"element","id":"q","selector":"#q","tagName":"input"}`, noMetadata},
	{"input_blur", 4, `{"type":"element","id":"q","selector":"#q","tagName":"input"}`, noMetadata},
	{"form_submit", 3, `{"type":"element","id":"search","selector":"form.search","tagName":"form"}`, func(r *rand.Rand) string {
		return fmt.Sprintf(`{"fields":%d}`, 1+r.IntN(8))
	}},
	{"navigation", 8, `{"type":"window"}`, func(r *rand.Rand) string {
		return fmt.Sprintf(`{"from":%q}`, routes[r.IntN(len(routes))])
	}},
	{"network", 7, `{"type":"request"}`, func(r *rand.Rand) string {
		return fmt.Sprintf(`{"method":"GET","path":"/api/stock","status":200,"duration":%d}`, r.IntN(900))
	}},
	{"performance", 4, `{"type":"window"}`, func(r *rand.Rand) string {
		return fmt.Sprintf(`{"metric":"LCP","value":%d}`, 400+r.IntN(3000))
	}},
	{"loading", 3, `{"type":"window"}`, func(r *rand.Rand) string {
		return fmt.Sprintf(`{"phase":"complete","duration":%d}`, r.IntN(2500))
	}},
	{"error", 1, `{"type":"window"}`, func(r *rand.Rand) string {
		return fmt.Sprintf(`{"message":"stock is undefined","file":"shop.js","line":%d}`, 1+r.IntN(900))
	}},
	{"unhandled_rejection", 1, `{"type":"window"}`, func(*rand.Rand) string {
		return `{"message":"fetch was aborted"}`
	}},
}

func noMetadata(*rand.Rand) string { return `{}` }

// event appends the JSON of the session's next event.
func (s *session) event(dst []byte, key string) []byte {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	drawn := s.rand.IntN(total)
	at := 0
	for drawn >= kinds[at].weight {
		drawn -= kinds[at].weight
		at++
	}
	k := kinds[at]
	if k.name == "navigation" {
		s.route = routes[s.rand.IntN(len(routes))]
	}
	return fmt.Appendf(dst, `{"eventType":%q,"timestamp":%q,"sessionId":%q,"route":%q,"target":%s,"metadata":%s,"environment":"production","idempotencyKey":%q}`,
		k.name, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), s.id, s.route, k.target, k.meta(s.rand), key)
}

// maxNumber bounds the number of an event within its session.
const maxNumber = 1 << 24

// Number takes an idempotency key apart; ok is false if it is not one of a
// Generator.
func Number(key string) (session string, number int, ok bool) {
	at := strings.LastIndexByte(key, '-')
	if at <= 0 {
		return "", 0, false
	}
	number, err := strconv.Atoi(key[at+1:])
	return key[:at], number, err == nil && number > 0 && number <= maxNumber
}
