/* proc.elf: a little of what a kernel's debug information holds, for tests of damaged files.
   riscv64-unknown-elf-gcc -g -O1 -march=rv64gc -mabi=lp64d -mcmodel=medany -nostdlib
     -ffreestanding -ffile-prefix-map=$PWD=.
     -Wl,-Ttext=0x80000000,-n,--build-id=none -o proc.elf proc.c */

struct proc {
  int state;
  int pid;
  char name[16];
};

struct cpu {
  struct proc *proc;
  int depth;
};

struct cpu cpus[2];
struct proc procs[3];

static inline int pid_of(struct proc *p)
{
  return p->pid + 1;
}

int pick(int n)
{
  for (int i = 0; i < 3; i++)
    if (pid_of(&procs[i]) == n)
      return procs[i].state;
  return -1;
}

void _start(void)
{
  cpus[0].proc = &procs[0];
  cpus[0].depth = pick(4);
  for (;;)
    ;
}
