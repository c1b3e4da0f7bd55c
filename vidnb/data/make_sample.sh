#!/bin/sh
# Generates sample.mp4, the clip that vidnb.sample() returns. Picture and sound are computed from
# formulas, without third-party material, so the clip has the licence of vidnb (MIT).
#
#   usage: make_sample.sh [OUTPUT]        needs ffmpeg >= 5 (libx264, libfreetype, libfontconfig)
#
# The result of a seek is visible: time code and frame number are burned in, and the ball, the bar
# and the background colour differ in every frame. Each second has its own note of a pentatonic
# scale, so a seek is audible too.
set -eu

out=${1:-"$(dirname "$0")/sample.mp4"}
font="DejaVu Sans Mono"  # a fontconfig name; monospaced, so that the digits do not move
seconds=10
fps=30
frames=$((seconds * fps))

# Milliseconds are computed from the frame number, rounded: frame 1 is at 0.033.
time_code="0\:00\:%{eif\:floor(n/$fps)\:d\:2}.%{eif\:floor(mod(n,$fps)*1000/$fps+0.5)\:d\:3}"
frame_number="frame %{eif\:n\:d\:3} of $frames"

# The bar grows from x=40 to x=600 in ten seconds; the ball moves on a sine wave above it.
wave_y="240+14*cos(2*PI*t)"

picture="
  gradients=s=640x360:r=$fps:d=$seconds:n=2:c0=0x123a46:c1=0x2b5a63:x0=0:y0=0:x1=639:y1=359:seed=1:speed=0.00001,
    hue=h='13*t',
    drawgrid=x=39:y=0:w=56:h=360:t=1:color=white@0.05
    [background];
  color=c=0x0b1f26:s=560x6:r=$fps:d=$seconds [track];
  color=c=0xf2c57c:s=560x6:r=$fps:d=$seconds [fill];
  [track][fill] overlay=x='56*t-560' [bar];
  [background][bar] overlay=x=40:y=300 [with_bar];
  color=c=0xf2c57c:s=44x44:r=$fps:d=$seconds, format=rgba,
    geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='255*clip(15-hypot(X-21.5,Y-21.5),0,1)+60*clip(1-hypot(X-21.5,Y-21.5)/21,0,1)*gt(hypot(X-21.5,Y-21.5),15)'
    [ball];
  [with_bar][ball] overlay=x='18+56*t':y='$wave_y' [with_ball];
  [with_ball]
    drawtext=font='$font':text='vidnb':fontsize=22:fontcolor=white@0.62:x=40:y=34,
    drawtext=font='$font':text='sample':fontsize=22:fontcolor=white@0.34:x=600-tw:y=34,
    drawtext=font='$font':text='$time_code':fontsize=72:fontcolor=0xf4f1ea:x=(640-tw)/2:y=108,
    drawtext=font='$font':text='$frame_number':fontsize=26:fontcolor=0xf2c57c:x=(640-tw)/2:y=194,
    format=yuv420p
"

# The note of each second: fundamental and octave, 10 ms attack, exponential decay.
step="2*eq(mod(floor(t),5),1)+4*eq(mod(floor(t),5),2)+7*eq(mod(floor(t),5),3)+9*eq(mod(floor(t),5),4)"
pitch="392*pow(2,($step+12*floor(t/5))/12)"
shape="min(1,mod(t,1)/0.01)*exp(-7*mod(t,1))"
sound="aevalsrc='0.2*$shape*(sin(2*PI*$pitch*mod(t,1))+0.25*sin(4*PI*$pitch*mod(t,1)))':s=48000:d=$seconds"

# One key frame per second: a seek decodes at most 29 frames. The index (moov) comes first, so that
# a player has it after one small request. The seed, one thread and the bit-exact flags make the
# output of one ffmpeg version reproducible.
ffmpeg -hide_banner -loglevel error -nostdin -y \
  -filter_complex "$picture [v]; $sound [a]" -map "[v]" -map "[a]" \
  -c:v libx264 -threads 1 -profile:v main -preset veryslow -crf 27 -g "$fps" -keyint_min "$fps" -sc_threshold 0 \
  -c:a aac -b:a 48k -ac 1 \
  -map_metadata -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact \
  -movflags +faststart "$out"

ls -l "$out"
