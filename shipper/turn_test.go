package shipper

import (
	"context"
	"maps"
	"testing"

	"forebay/wal"
)

// memory is a State of one test; shippertest cannot be used from inside.
type memory map[string][]byte

func (m memory) Get(key string) ([]byte, error)                { return m[key], nil }
func (m memory) Scan(string, func(string, []byte) error) error { return nil }
func (m memory) Commit(writes ...Write) error {
	for _, w := range writes {
		m[w.Key] = w.Value
	}
	maps.DeleteFunc(m, func(_ string, v []byte) bool { return v == nil })
	return nil
}

type untouched struct{ *testing.T }

func (u untouched) Ship(context.Context, *Feed) error {
	u.Error("the sink is called")
	return nil
}

// TestCommandTakesBackATurn commands a cursor at the very moment when it has
// found that it may run and has not called its sink yet.
func TestCommandTakesBackATurn(t *testing.T) {
	ctx := context.Background()
	commands := map[string]func(*Cursor) error{
		"pause":            func(c *Cursor) error { return c.Pause(ctx, Command{}, 0) },
		"pause and resume": func(c *Cursor) error { _ = c.Pause(ctx, Command{}, 0); return c.Resume(ctx, Command{}) },
		"requeue":          func(c *Cursor) error { c.interrupt(); return nil },
	}
	for name, command := range commands {
		t.Run(name, func(t *testing.T) {
			log, err := wal.Open(wal.Options{Dir: t.TempDir(), ReserveBytes: -1})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := log.Close(); err != nil {
					t.Error(err)
				}
			}()
			cursors, err := NewCursors(Options{Log: log, State: memory{}})
			if err != nil {
				t.Fatal(err)
			}
			c, err := cursors.Add("test", untouched{t}, Flush{Rows: 1, Bytes: 1})
			if err != nil {
				t.Fatal(err)
			}
			turn, err := c.await(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := command(c); err != nil {
				t.Fatal(err)
			}
			if again := c.tail(ctx, turn, 0); !again {
				t.Error("the run loop rests, instead of looking again")
			}
		})
	}
}
