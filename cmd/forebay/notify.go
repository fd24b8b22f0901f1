package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"
)

// notifyTimeout bounds one message to the service manager.
const notifyTimeout = time.Second

// notifier tells the service manager (systemd) how the node is, over the
// datagram socket that NOTIFY_SOCKET names. Without one it does nothing.
type notifier struct {
	socket string
	every  time.Duration // half of what the watchdog waits; 0: it does not watch
	logger *slog.Logger
}

// newNotifier reads the service manager's wishes from the environment.
func newNotifier(getenv func(string) string, logger *slog.Logger) notifier {
	n := notifier{socket: getenv("NOTIFY_SOCKET"), logger: logger}
	usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64)
	pid := getenv("WATCHDOG_PID")
	if err == nil && usec > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.every = time.Duration(usec) * time.Microsecond / 2
	}
	return n
}

// run says that the node is ready, then at every half of the watchdog's time
// that it lives as long as alive says so, and that it stops once ctx ends.
func (n notifier) run(ctx context.Context, alive func() bool) {
	if n.socket == "" {
		return
	}
	n.tell("READY=1")
	defer n.tell("STOPPING=1")
	if n.every == 0 {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(n.every)
	defer tick.Stop()
	for {
		if alive() {
			n.tell("WATCHDOG=1")
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tell sends one message. A service manager that cannot be reached is worth a
// word and nothing more: the node serves all the same.
func (n notifier) tell(message string) {
	if err := n.send(message); err != nil {
		n.logger.Warn("the service manager cannot be told", "message", message, "err", err)
	}
}

func (n notifier) send(message string) error {
	ctx, cancel := context.WithTimeout(context.Background(), notifyTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unixgram", n.socket) // a leading @ is an abstract socket to net, too
	if err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(notifyTimeout)); err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	if _, err := conn.Write([]byte(message)); err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	return nil
}
