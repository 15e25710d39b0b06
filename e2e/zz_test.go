package e2e
import ("fmt";"os";"sync";"testing";"strings")
func TestZZMem(t *testing.T) {
	d := separate(t, "PLI_DEMO_SPLIT=a")
	karim, claire := d.who(t, "karim.haddad"), d.who(t, "claire.morel")
	path, _ := big(t, karim.Address, claire.Address, "un", 25_000_000)
	show := func() {
	for _, f := range d.Operators[0].PIDs {
		pid, err := readPID(d.path(f))
		if err != nil { continue }
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for l := range strings.Lines(string(b)) { if strings.HasPrefix(l, "VmHWM") || strings.HasPrefix(l, "RssFile")|| strings.HasPrefix(l, "RssAnon") { fmt.Print(f, " ", l) } }
	}}
	d.upload(t, karim, claire.Address, path)
	show()
	var wg sync.WaitGroup
	for i := range 10 {
		path, _ := big(t, karim.Address, claire.Address, fmt.Sprintf("gros %d", i), 25_000_000)
		wg.Go(func() { d.upload(t, karim, claire.Address, path) })
	}
	wg.Wait()
	fmt.Println("----")
	show()
}
