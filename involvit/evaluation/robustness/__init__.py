"""`involvit robustness`: models under occlusion, pose, blur, noise and light."""
