package router

import "testing"

// TestBuffersHaveALargestSize: however much room there is, nothing larger than
// the largest class is lent, nor counted as lent.
func TestBuffersHaveALargestSize(t *testing.T) {
	pool := buffers{limit: 1 << 40}
	largest := classSize(bufferClasses - 1)
	for _, size := range []int{largest + 1, 4 * largest} {
		if b := pool.get(size); b != nil {
			t.Errorf("%d bytes were lent", size)
		}
	}
	b := pool.get(largest)
	if b == nil || cap(b.b) != largest {
		t.Fatalf("the largest buffer: %v", b)
	}
	if larger := pool.grow(b); larger != nil {
		t.Errorf("grown to %d bytes", cap(larger.b))
	}
	if out := pool.out.Load(); out != 0 {
		t.Errorf("%d bytes are counted as lent", out)
	}
}
