"""An emulated aarch64 machine for tests: Debian with its own kernel, a bare Python, and a real ssh server.

What runs there has the kernels and the numerics of an Arm core. Its times mean nothing.
"""

from __future__ import annotations

import contextlib
import lzma
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from experiments.real_sshd import HOST, free_port, make_keys, path_with_ssh

QEMU = "qemu-system-aarch64"
PROGRAMS = (QEMU, "debootstrap", "dpkg-deb", "cpio", "mke2fs", "ssh", "ssh-keygen")
RELEASE = "trixie"
PACKAGES = ("python3", "libstdc++6", "libgomp1", "openssh-server", "iproute2", "linux-image-arm64")
UNUSED = ("boot", "dev", "var/cache", "var/lib", "usr/share/doc", "usr/share/man", "usr/share/locale")
UNUSED_PARTS = ("usr/lib/modules", "usr/lib/systemd", "usr/lib/udev", "usr/lib/linux-image-*", "debootstrap")
MODULES = ("virtio_net", "virtio_blk", "crc32c_generic", "ext4")
"""Parts of the kernel for its network and its disk."""
DISK = "/data"
DISK_BYTES = 2 * 2**30
MEMORY_MIB = 1536
BOOTS_WITHIN_S = 900.0
INIT = f"""#!/bin/sh
export PATH=/usr/sbin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /run/sshd {DISK}
mount -t devpts devpts /dev/pts
while read -r module; do insmod "/modules/$module"; done < /modules/order
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
mount -t ext4 /dev/vda {DISK}
while :; do /usr/sbin/sshd -D -e; sleep 1; done
"""


def why_missing() -> str:
    """Return what this machine lacks to emulate another one; empty if nothing."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    lacking = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if lacking:
        return f"it needs {', '.join(lacking)}: apt-get install qemu-system-arm debootstrap cpio"
    return "" if os.geteuid() == 0 else "debootstrap needs root"


def build(folder: Path) -> None:
    """Put a kernel, an initial file system and keys into a folder, in some minutes. One that is complete stays.

    Raises:
        OSError: Debian's packages cannot be had.
    """
    if (folder / "initrd").exists():
        return
    root = folder / "root"
    command = ["debootstrap", "--arch=arm64", "--foreign", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    done = subprocess.run([*command, RELEASE, str(root)], capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"Debian's packages cannot be had: {done.stdout[-500:]} {done.stderr[-500:]}")
    for package in sorted((root / "var/cache/apt/archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(root)], check=True)
    make_keys(folder)
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    shutil.move(kernel, folder / "kernel")
    _put_modules(root)
    for name in (*UNUSED, *(str(each.relative_to(root)) for part in UNUSED_PARTS for each in root.glob(part))):
        shutil.rmtree(root / name)
    _put_settings(root, folder)
    made = folder / ".initrd"
    with made.open("wb") as archive:
        names = "\n".join(sorted(str(path.relative_to(root)) for path in root.rglob("*")))
        command = ["cpio", "-o", "-H", "newc", "--quiet"]
        subprocess.run(command, cwd=root, input=names.encode(), stdout=archive, check=True)
    made.rename(folder / "initrd")
    shutil.rmtree(root)


def _put_modules(root: Path) -> None:
    """Put the modules of the kernel that are needed into a folder, with the order in which they are loaded."""
    files = {path.name.partition(".ko")[0].replace("-", "_"): path for path in root.glob("usr/lib/modules/**/*.ko*")}
    order: list[str] = []
    (root / "modules").mkdir()

    def put(name: str) -> None:
        if name in order:
            return
        path = files[name.replace("-", "_")]
        content = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
        needed = re.search(rb"\0depends=([^\0]*)\0", content)
        assert needed is not None
        for each in filter(None, needed[1].decode().split(",")):
            put(each)
        (root / "modules" / name).write_bytes(content)
        order.append(name)

    for module in MODULES:
        put(module)
    (root / "modules" / "order").write_text("".join(f"{name}\n" for name in order))


def _put_settings(root: Path, folder: Path) -> None:
    for name in ("passwd", "group"):
        shutil.copyfile(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
    with (root / "etc/passwd").open("a") as users:
        users.write("sshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n")
    (root / "dev").mkdir()
    (root / "etc/ssh/sshd_config").write_text(
        "HostKey /etc/ssh/host\nAuthorizedKeysFile /etc/ssh/user.pub\nStrictModes no\nPermitRootLogin yes\nUsePAM no\n"
        "PasswordAuthentication no\n"
    )
    for name in ("host", "user.pub"):
        shutil.copy(folder / name, root / "etc/ssh" / name)  # with its mode, which sshd checks
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, str]]:
    """Run a machine that was built, with an empty disk at ``DISK``, until the end of the block.

    Give its address, and a search path on which ssh knows it. If it is told to start again, it does.
    """
    disk, port = folder / "disk", free_port()
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", str(disk)], check=True)
    network = f"user,id=net,restrict=on,hostfwd=tcp:{HOST}:{port}-:22"
    command = [QEMU, "-M", "virt", "-cpu", "cortex-a76", "-smp", "1", "-m", str(MEMORY_MIB), "-display", "none"]
    command += ["-monitor", "none", "-serial", f"file:{folder / 'console'}"]
    command += ["-kernel", str(folder / "kernel"), "-initrd", str(folder / "initrd")]
    command += ["-append", "console=ttyAMA0 quiet panic=1"]
    command += ["-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile="]
    command += ["-drive", f"file={disk},format=raw,if=virtio"]
    path = path_with_ssh(folder, port)
    machine = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        _wait_for(machine, folder, port)
        yield f"ssh://root@{HOST}:{port}", path
    finally:
        machine.kill()
        machine.wait()


def _wait_for(machine: subprocess.Popen[bytes], folder: Path, port: int) -> None:
    """Wait until a login succeeds."""
    deadline = time.monotonic() + BOOTS_WITHIN_S
    while time.monotonic() < deadline and machine.poll() is None:
        login = [str(folder / "ssh"), "-o", "BatchMode=yes", "-o", "ConnectTimeout=60", "-p", str(port), f"root@{HOST}"]
        if subprocess.run([*login, "true"], capture_output=True).returncode == 0:
            return
        time.sleep(2.0)
    said = (folder / "console").read_text(errors="replace")[-2000:]
    raise OSError(f"the emulated machine must let us in within {BOOTS_WITHIN_S:.0f} s, but did not:\n{said}")
