# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Processors and memory that this process may use, by affinity and control groups, counted as in
# engine/base/resources.h.

# group_folders CONTROLLER: prints the folders of this process's control group and of those above it, one a
# line.
group_folders() {
  local controllers group mount
  while IFS=: read -r _ controllers group; do
    case ,$controllers, in
      ,,) mount=/sys/fs/cgroup/unified && [[ -d $mount ]] || mount=/sys/fs/cgroup ;;
      *,"$1",*) mount=/sys/fs/cgroup/$1 && [[ -d $mount ]] || mount=/sys/fs/cgroup/$controllers ;;
      *) continue ;;
    esac
    while group=${group%/} && [[ -n $group ]]; do
      echo "$mount$group"
      group=${group%/*}
    done
    echo "$mount"
  done </proc/self/cgroup
}

# allowed_cpus: prints the number of processors of the affinity, or of the smallest quota, rounded up.
allowed_cpus() {
  local least folder quota period
  least=$(nproc)
  while read -r folder; do
    quota="" period=""
    if [[ -r $folder/cpu.max ]]; then read -r quota period <"$folder/cpu.max"; fi
    if [[ -r $folder/cpu.cfs_quota_us ]]; then quota=$(<"$folder/cpu.cfs_quota_us") period=$(<"$folder/cpu.cfs_period_us"); fi
    if [[ $quota =~ ^[1-9][0-9]*$ && $period =~ ^[1-9][0-9]*$ ]]; then
      quota=$(((quota + period - 1) / period))
      least=$((quota < least ? quota : least))
    fi
  done < <(group_folders cpu)
  echo "$least"
}

# free_memory_kb: prints the available memory, or what the smallest group leaves. A group's page cache counts
# as free.
free_memory_kb() {
  local least folder limit used cache free
  least=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
  while read -r folder; do
    for limit in memory.max:memory.current memory.high:memory.current memory.limit_in_bytes:memory.usage_in_bytes; do
      used=$folder/${limit#*:} limit=$folder/${limit%:*}
      [[ -r $limit && -r $used && $(<"$limit") =~ ^[0-9]+$ ]] || continue
      cache=$(awk '/^(total_)?(inactive_file|active_file|slab_reclaimable) / { if ($1 ~ /^total_/) t += $2; else s += $2 }
        END { printf "%.0f", (t > s ? t : s) }' "$folder/memory.stat" 2>/dev/null || true)
      free=$((($(<"$limit") - $(<"$used") + ${cache:-0}) / 1024))
      free=$((free < 0 ? 0 : free))
      least=$((free < least ? free : least))
    done
  done < <(group_folders memory)
  echo "$least"
}
