package router

import (
	"net"
	"sync"
)

// BoundedListener accepts no more connections than it has places. Further ones
// wait in the kernel's queue. Unlike those of other wrappers, its connections can
// still be closed in one direction, which net/http needs to end a connection
// without cutting off the reply.
type BoundedListener struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	once   sync.Once
}

// NewBoundedListener bounds l, whose connections are those of TCP or of a Unix
// socket.
func NewBoundedListener(l net.Listener, places int) *BoundedListener {
	return &BoundedListener{Listener: l, places: make(chan struct{}, places), closed: make(chan struct{})}
}

// Accept waits for a place and then for a connection.
func (l *BoundedListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &boundedConn{halfConn: conn.(halfConn), places: l.places}, nil
}

// Close ends Accept.
func (l *BoundedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// Connections returns how many places are taken, and how many there are.
func (l *BoundedListener) Connections() (open, most int) { return len(l.places), cap(l.places) }

// halfConn is a connection of which one direction can be closed.
type halfConn interface {
	net.Conn
	CloseWrite() error
}

// boundedConn gives its place back when it is closed.
type boundedConn struct {
	halfConn
	places <-chan struct{}
	once   sync.Once
}

// Close closes the connection. Only the first call does anything.
func (c *boundedConn) Close() (err error) {
	c.once.Do(func() {
		err = c.halfConn.Close()
		<-c.places
	})
	return err
}
