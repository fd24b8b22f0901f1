// Package proxy is a TCP proxy on loopback that breaks connections where a test says: at once, at a byte, or by
// silence. A test puts it between a sink and its receiver and so needs no faults built into either.
package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy forwards connections to a target until told otherwise. All methods are safe for concurrent use.
type Proxy struct {
	listener net.Listener
	running  sync.WaitGroup

	mutex   sync.Mutex
	changed *sync.Cond // of everything below
	target  string
	down    bool
	paused  bool
	delay   time.Duration // before each piece that is forwarded
	links   map[*link]struct{}
	flows   [2]flow
}

// direction indexes what goes to the server and what comes back.
type direction int

const (
	toServer direction = iota
	toClient
)

// flow is one direction of all connections together.
type flow struct {
	bytes int64         // forwarded so far
	cutAt int64         // value of bytes at which all connections are cut, if armed
	armed chan struct{} // closed by that cut; nil when none is armed
}

// link is one proxied connection.
type link struct {
	client, server net.Conn
	gone           bool
}

// Start listens on a free port of 127.0.0.1 and forwards to the target, a host:port. It ends with the test.
func Start(tb testing.TB, target string) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{listener: listener, target: target, links: map[*link]struct{}{}}
	p.changed = sync.NewCond(&p.mutex)
	p.running.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// Addr is the host:port to connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Target forwards connections made from now on to another host:port.
func (p *Proxy) Target(addr string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.target = addr
}

// Cut closes every connection. New ones are served.
func (p *Proxy) Cut() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.cutAll()
}

// Down closes every connection, and each new one as soon as it is made, until Up.
func (p *Proxy) Down() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.down = true
	p.cutAll()
}

// Up serves connections again after Down.
func (p *Proxy) Up() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.down = false
}

// Pause holds every byte back in both directions, on old connections and new ones, until Resume. Connections stay open.
func (p *Proxy) Pause() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.paused = true
}

// Resume forwards again after Pause, beginning with what was held back.
func (p *Proxy) Resume() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.paused = false
	p.changed.Broadcast()
}

// Slow makes each piece of up to 32 KiB, in either direction, wait so long before it is forwarded; 0 ends that.
func (p *Proxy) Slow(delay time.Duration) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.delay = delay
}

// CutAfterSent closes every connection, once, when n more bytes have gone to the server on all of them together; with 0,
// when the client sends, before the server has any of it. The channel closes when that has happened. New connections are
// served.
func (p *Proxy) CutAfterSent(n int64) <-chan struct{} { return p.cutAfter(toServer, n) }

// CutAfterReceived closes every connection, once, when n more bytes have come back from the server: with 0, when it
// answers, before the client has any of it. The channel closes when that has happened. New connections are served.
func (p *Proxy) CutAfterReceived(n int64) <-chan struct{} { return p.cutAfter(toClient, n) }

// Sent is how many bytes have gone to the server so far.
func (p *Proxy) Sent() int64 { return p.forwarded(toServer) }

// Received is how many bytes have come back from the server so far.
func (p *Proxy) Received() int64 { return p.forwarded(toClient) }

// Connections is how many connections are open.
func (p *Proxy) Connections() int {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return len(p.links)
}

func (p *Proxy) forwarded(d direction) int64 {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.flows[d].bytes
}

func (p *Proxy) cutAfter(d direction, n int64) <-chan struct{} {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	f := &p.flows[d]
	f.cutAt = f.bytes + n
	f.armed = make(chan struct{})
	return f.armed
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed by the end of the test
		}
		p.running.Go(func() { p.serve(client) })
	}
}

// serve forwards one connection both ways until it ends or is cut.
func (p *Proxy) serve(client net.Conn) {
	p.mutex.Lock()
	target, refused := p.target, p.down
	p.mutex.Unlock()
	if refused {
		client.Close()
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		client.Close() // what the client would see of a target that is away
		return
	}
	l := &link{client: client, server: server}
	p.mutex.Lock()
	p.links[l] = struct{}{}
	if p.down {
		p.cut(l)
	}
	p.mutex.Unlock()

	var back sync.WaitGroup
	back.Go(func() { p.forward(l, toClient, client, server) })
	p.forward(l, toServer, server, client)
	back.Wait()
	p.mutex.Lock()
	p.cut(l)
	p.mutex.Unlock()
}

// forward copies one direction of a link. An orderly end of the source is passed on; anything else ends the link.
func (p *Proxy) forward(l *link, d direction, to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !p.pass(l, d, to, buffer[:n]) {
			return
		}
		if errors.Is(err, io.EOF) {
			_ = to.(*net.TCPConn).CloseWrite() // fails only when the other side is gone already
			return
		}
		if err != nil {
			p.mutex.Lock()
			p.cut(l)
			p.mutex.Unlock()
			return
		}
	}
}

// pass writes data when the proxy is not paused, up to the byte of an armed cut. It says whether the link goes on.
func (p *Proxy) pass(l *link, d direction, to net.Conn, data []byte) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if delay := p.delay; delay > 0 {
		p.mutex.Unlock()
		<-time.After(delay)
		p.mutex.Lock()
	}
	for p.paused && !l.gone {
		p.changed.Wait()
	}
	if l.gone {
		return false
	}
	f := &p.flows[d]
	var reached chan struct{} // of the armed cut, if this data reaches it
	if f.armed != nil && f.bytes+int64(len(data)) >= f.cutAt {
		data = data[:f.cutAt-f.bytes]
		reached, f.armed = f.armed, nil
	}
	f.bytes += int64(len(data))

	p.mutex.Unlock()
	_, err := to.Write(data)
	p.mutex.Lock()
	if reached != nil {
		p.cutAll()
		close(reached)
	} else if err != nil {
		p.cut(l)
	}
	return !l.gone
}

// cut ends one link. The mutex is held.
func (p *Proxy) cut(l *link) {
	if l.gone {
		return
	}
	l.gone = true
	delete(p.links, l)
	l.client.Close()
	l.server.Close()
	p.changed.Broadcast()
}

func (p *Proxy) cutAll() {
	for l := range p.links {
		p.cut(l)
	}
}

// close ends everything and waits for it.
func (p *Proxy) close() {
	p.listener.Close()
	p.mutex.Lock()
	p.down, p.paused = true, false
	p.cutAll()
	p.changed.Broadcast()
	p.mutex.Unlock()
	p.running.Wait()
}
